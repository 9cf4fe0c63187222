//! What every server shares besides the reactor. C++ `server/src/base`, less the network part.
