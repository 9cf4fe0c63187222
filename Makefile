# TeamTalk in Rust. `make help` lists the targets.

CARGO ?= cargo

# Where the programs are that were built.
BUILD ?= $(or $(CARGO_TARGET_DIR),target)/release

.PHONY: help run build test check docs pictures bench bench-reactor fuzz install uninstall

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

run: build ## build everything, then run a whole cluster in var/ until Ctrl-C
	$(BUILD)/teamtalk up

build: ## build everything in release mode
	$(CARGO) build --release --locked

test: ## run all tests
	$(CARGO) test --locked

check: ## formats, lints, documentation, house rules
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps
	$(CARGO) test --locked --test it tidy::

# Two runs: the second one looks at what the first one has written.
docs: ## bring docs/ up to date with the code, make the documentation of the crate
	TIDY_WRITE=1 $(CARGO) test --locked --test it tidy::the_documents_say_what_the_code_says
	$(CARGO) test --locked --test it tidy::
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps

pictures: ## draw docs/chat.svg and docs/top.svg anew, from what is seen in a terminal
	TEAMTALK_PICTURES=1 $(CARGO) test --locked --test it _picture::

bench: ## run all benchmarks
	$(CARGO) bench --locked

bench-reactor: ## netlib against a plain epoll loop; the last line sums up
	$(CARGO) bench --locked --bench reactor

# Seconds for each fuzz target.
FUZZ_SECONDS ?= 60

fuzz: ## run each fuzz target for FUZZ_SECONDS (needs cargo-fuzz)
	./fuzz/run $(FUZZ_SECONDS)

# Where things are installed. DESTDIR comes before all of it, for who makes packages.
PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
SYSCONFDIR ?= $(if $(filter /usr,$(PREFIX)),/etc,$(PREFIX)/etc)
MANDIR ?= $(PREFIX)/share/man
DOCDIR ?= $(PREFIX)/share/doc/teamtalk
BASHDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR ?= $(PREFIX)/share/zsh/site-functions
FISHDIR ?= $(PREFIX)/share/fish/vendor_completions.d
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d

PROGRAMS := $(basename $(notdir $(wildcard src/bin/*.rs)))
SERVERS := $(filter-out teamtalk,$(PROGRAMS))
CONFS := $(notdir $(wildcard conf/*.conf))
UNITS := $(SERVERS:%=teamtalk-%.service) teamtalk.target
CONFDIR = $(DESTDIR)$(SYSCONFDIR)/teamtalk

install: ## install what was built, below PREFIX (default: /usr/local)
	@test -x $(BUILD)/teamtalk || { echo "nothing is built yet: make build" >&2; exit 1; }
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(MANDIR)/man1 $(DESTDIR)$(MANDIR)/man8 \
	    $(DESTDIR)$(DOCDIR) $(DESTDIR)$(BASHDIR) $(DESTDIR)$(ZSHDIR) $(DESTDIR)$(FISHDIR) \
	    $(DESTDIR)$(UNITDIR) $(DESTDIR)$(SYSUSERSDIR) $(CONFDIR)
	install -m 755 $(PROGRAMS:%=$(BUILD)/%) $(DESTDIR)$(BINDIR)
	install -m 644 docs/*.md $(DESTDIR)$(DOCDIR)
	@# A configuration that was changed stays; the new sample lies beside it then. Passwords
	@# are going to be in there, so not everybody may read them.
	@for conf in $(CONFS); do \
	    to=$(CONFDIR)/$$conf; \
	    if test -e $$to && ! cmp -s conf/$$conf $$to; then \
	        echo "$$to was changed: the new sample is $$conf.new"; to=$$to.new; \
	    fi; \
	    install -m 640 conf/$$conf $$to || exit; \
	done
	@for unit in $(UNITS); do \
	    to=$(DESTDIR)$(UNITDIR)/$$unit; \
	    sed -e 's|/usr/local/bin/|$(BINDIR)/|' -e 's|/usr/local/etc/|$(SYSCONFDIR)/|' \
	        systemd/$$unit > $$to && chmod 644 $$to || exit; \
	done
	install -m 644 systemd/teamtalk.sysusers $(DESTDIR)$(SYSUSERSDIR)/teamtalk.conf
	@set -e; pages=$$(mktemp -d); trap 'rm -r $$pages' EXIT; $(BUILD)/teamtalk man $$pages; \
	    install -m 644 $$pages/*.1 $(DESTDIR)$(MANDIR)/man1; \
	    install -m 644 $(SERVERS:%=$$pages/%.8) $(DESTDIR)$(MANDIR)/man8; \
	    $(BUILD)/teamtalk completions bash > $$pages/bash; \
	    $(BUILD)/teamtalk completions zsh > $$pages/zsh; \
	    $(BUILD)/teamtalk completions fish > $$pages/fish; \
	    install -m 644 $$pages/bash $(DESTDIR)$(BASHDIR)/teamtalk; \
	    install -m 644 $$pages/zsh $(DESTDIR)$(ZSHDIR)/_teamtalk; \
	    install -m 644 $$pages/fish $(DESTDIR)$(FISHDIR)/teamtalk.fish
	@echo "installed; docs/operations.md, \"With systemd\", says what comes next"

uninstall: ## remove what was installed, but no configuration that was changed
	rm -f $(PROGRAMS:%=$(DESTDIR)$(BINDIR)/%) $(UNITS:%=$(DESTDIR)$(UNITDIR)/%)
	rm -f $(DESTDIR)$(SYSUSERSDIR)/teamtalk.conf $(SERVERS:%=$(DESTDIR)$(MANDIR)/man8/%.8)
	rm -f $(DESTDIR)$(MANDIR)/man1/teamtalk.1 $(DESTDIR)$(MANDIR)/man1/teamtalk-*.1
	rm -f $(DESTDIR)$(BASHDIR)/teamtalk $(DESTDIR)$(ZSHDIR)/_teamtalk
	rm -f $(DESTDIR)$(FISHDIR)/teamtalk.fish
	rm -f $(patsubst docs/%,$(DESTDIR)$(DOCDIR)/%,$(wildcard docs/*.md)) $(CONFS:%=$(CONFDIR)/%.new)
	@for conf in $(CONFS); do \
	    if cmp -s conf/$$conf $(CONFDIR)/$$conf; then rm $(CONFDIR)/$$conf || exit; \
	    elif test -e $(CONFDIR)/$$conf; then echo "$(CONFDIR)/$$conf was changed, and stays"; fi; \
	done
	@for dir in $(DESTDIR)$(DOCDIR) $(CONFDIR); do \
	    if test -d $$dir; then rmdir --ignore-fail-on-non-empty $$dir || exit; fi; \
	done
