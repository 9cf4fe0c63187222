-- One row for each thing there is one of. Duplicates are gone when this begins.
-- {n} stands for 0 to 7.

alter table IMDepart add key idx_updated (updated);
alter table IMGroup add key idx_lastChated (lastChated);
alter table IMGroupMember add unique key uk_groupId_userId (groupId, userId);
alter table IMGroupMessage_{n} add unique key uk_groupId_msgId (groupId, msgId);
alter table IMMessage_{n} add unique key uk_relateId_msgId (relateId, msgId);
alter table IMRecentSession add unique key uk_userId_peerId_type (userId, peerId, type),
    add key idx_userId_status_updated (userId, status, updated);
alter table IMRelationShip add unique key uk_smallId_bigId (smallId, bigId);
alter table IMTransmitFile add key idx_toId_status_created (toId, status, created);
alter table IMUser add unique key uk_name (name),
    add key idx_updated (updated);

-- Keys that only cost time now: the unique keys begin with the same columns, and no server ever
-- asked for messages by sender and receiver. The one that the original forces for the message list
-- stays.
alter table IMMessage_{n} drop key idx_fromId_toId_created,
    drop key idx_relateId_status_msgId_created;
alter table IMGroupMessage_{n} drop key idx_groupId_msgId_status_created;
alter table IMRecentSession drop key idx_userId_peerId_status_updated,
    drop key idx_userId_peerId_type;
