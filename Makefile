# SPDX-License-Identifier: Apache-2.0
# Firn: one Makefile. `make help` lists the goals.
#
#   make                    build/firnd firnctl firn-bench firn-sim
#   make SANITIZE=address   the same into build/san-address (undefined, thread likewise)
#   make CC=clang           the same into build/clang

SHELL   := /bin/bash
CC      := gcc
O       := build
COMPILER := $(if $(findstring clang,$(CC)),clang,gcc)
ifeq ($(COMPILER),clang)
override O := $(O)/clang
endif
ifdef SANITIZE
override O := $(O)/san-$(SANITIZE)
endif

PKGS    := liburing lmdb libpmem libisal libmicrohttpd libcurl jansson libconfig libsystemd zlib
WARN    := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wswitch-enum -Wvla \
           -Wformat=2 -Wcast-align -Wpointer-arith -Wundef -Werror
VERSION := 0.1.0
CFLAGS  ?= -O2 -g
ALL_CFLAGS := -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DFIRN_VERSION='"$(VERSION)"' -Isrc -I. $(WARN) \
           -fno-omit-frame-pointer -fstack-protector-strong -fPIE -pthread $(CFLAGS)
ALL_LDFLAGS := -pie -Wl,-z,relro,-z,now -pthread $(LDFLAGS)
ifdef SANITIZE
ALL_CFLAGS  += -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -O1
ALL_LDFLAGS += -fsanitize=$(SANITIZE)
else
ALL_CFLAGS  += -D_FORTIFY_SOURCE=2
endif
LIBS    := -luring -llmdb -lpmem -lisal -lmicrohttpd -lcurl -ljansson -lconfig -lsystemd -lz -lm

# A room is a folder; a room becomes an archive; who may include whom is design.md's and tests/lint's business.
ROOMS   := base:src/base rt:src/rt journal:journal tier:tier export:export daemon:src/daemon \
           firnctl:tools/firnctl bench:tools/bench sim:tools/sim
room_dir   = $(word 2,$(subst :, ,$(filter $(1):%,$(ROOMS))))
room_src   = $(filter-out %/main.c,$(wildcard $(call room_dir,$(1))/*.c))
objs       = $(patsubst %.c,$(O)/obj/%.o,$(1))
ARCHIVES  := $(foreach r,$(ROOMS),$(O)/lib/lib$(firstword $(subst :, ,$(r))).a)
ENGINE    := $(O)/lib/libexport.a $(O)/lib/libtier.a $(O)/lib/libjournal.a $(O)/lib/librt.a $(O)/lib/libbase.a

PROGRAMS := $(if $(wildcard src/daemon/main.c),$(O)/firnd) $(if $(wildcard tools/firnctl/main.c),$(O)/firnctl) \
            $(if $(wildcard tools/bench/main.c),$(O)/firn-bench) $(if $(wildcard tools/sim/main.c),$(O)/firn-sim)

.PHONY: all
all: $(PROGRAMS)

# `make V=1` shows whole command lines.
Q   := $(if $(V),,@)
say  = $(if $(V),,@echo "$(1)")

$(O)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,cc $<)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

define archive_rule
$(O)/lib/lib$(1).a: $(call objs,$(call room_src,$(1)))
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(Q)ar rcs $$@ $$^
endef
$(foreach r,$(ROOMS),$(eval $(call archive_rule,$(firstword $(subst :, ,$(r))))))

link = @mkdir -p $(@D); echo "link $@"; $(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS)

$(O)/firnd: $(call objs,src/daemon/main.c) $(O)/lib/libdaemon.a $(ENGINE)
	$(link)
$(O)/firnctl: $(call objs,tools/firnctl/main.c) $(O)/lib/libfirnctl.a $(O)/lib/libdaemon.a $(ENGINE)
	$(link)
$(O)/firn-bench: $(call objs,tools/bench/main.c) $(O)/lib/libbench.a $(O)/lib/librt.a $(O)/lib/libbase.a
	$(link)
$(O)/firn-sim: $(call objs,tools/sim/main.c) $(O)/lib/libsim.a $(O)/lib/libdaemon.a $(ENGINE)
	$(link)

# ---- unit tests: tests/unit/ROOM/*.c become one Criterion program a room -----------------------------------------
UNIT_ROOMS := $(notdir $(patsubst %/,%,$(wildcard tests/unit/*/)))
UNIT       := $(patsubst %,$(O)/tests/unit_%,$(UNIT_ROOMS))
define unit_rule
$(O)/tests/unit_$(1): $(call objs,$(wildcard tests/unit/$(1)/*.c) tests/unit/lsan.c) $(O)/lib/libsim.a $(O)/lib/libbench.a $(O)/lib/libfirnctl.a $(O)/lib/libdaemon.a $(ENGINE)
	@mkdir -p $$(@D); echo "link $$@"; $$(CC) $$(ALL_LDFLAGS) -o $$@ $$(filter %.o,$$^) -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $$(LIBS) -lcriterion
endef
$(foreach r,$(UNIT_ROOMS),$(eval $(call unit_rule,$(r))))
.PHONY: unit
unit: $(UNIT)

# ---- standalone test programs: tests/{raw,crash}/*.c, one program a file --------------------------------------------
TEST_PROGS := $(patsubst tests/%.c,$(O)/tests/%,$(wildcard tests/raw/*.c tests/crash/*.c))
TEST_LIBS  := $(O)/lib/libsim.a $(O)/lib/libbench.a $(O)/lib/libdaemon.a $(ENGINE)
$(O)/tests/raw/%: $(O)/obj/tests/raw/%.o $(TEST_LIBS)
	$(link)
$(O)/tests/crash/%: $(O)/obj/tests/crash/%.o $(TEST_LIBS)
	$(link)

# ---- fuzzers: tests/fuzz/fuzz_X.c; replay programs for `make check`, libFuzzer programs for `make fuzz` -----------------
FUZZERS := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_REPLAY := $(patsubst %,$(O)/tests/fuzz_%,$(FUZZERS))
$(O)/tests/fuzz_%: $(O)/obj/tests/fuzz/fuzz_%.o $(O)/obj/tests/fuzz/replay_main.o $(O)/lib/libsim.a $(O)/lib/libdaemon.a $(ENGINE)
	$(link)
FUZZ_SECONDS ?= 600
.PHONY: fuzz
fuzz: ## every fuzzer for FUZZ_SECONDS (600) with clang's libFuzzer, address and undefined-behaviour sanitizers
	@set -e; for f in $(if $(FUZZ),$(FUZZ),$(FUZZERS)); do tests/fuzz/run $$f $(FUZZ_SECONDS); done

.PHONY: clean
clean:
	rm -rf build

.PHONY: deps
deps: ## install Debian packages that building and testing need
	@tests/deps

.PHONY: tests programs
tests: programs $(UNIT) $(FUZZ_REPLAY)
programs: all $(TEST_PROGS)

.PHONY: check-quick check check-long
check-quick: ## unit tests, lint, fuzz corpora: the inner loop
	@$(MAKE) --no-print-directory tests
	@tests/run quick
check: ## every kind of test at moderate size, at most 15 minutes on 2 cores; installs what it needs
	@tests/deps
	@tests/run check
check-long: ## the figures that issues ask for: 300 kills, 10,000 seeds, guests
	@tests/deps
	@tests/run long

.PHONY: demo
demo: ## the main job where one can see it: serve, write, SIGKILL, restart, prove
	@tests/deps
	@$(MAKE) --no-print-directory all
	@tests/demo

.PHONY: bench
bench: all ## figures and ratios, measured side by side
	@tests/bench

.PHONY: bench-destage
bench-destage: all ## durable writes while destage works at full load on a modelled HDD, against none
	@FIRN_BUILD=$(O) tests/bench-destage

.PHONY: bench-hit
bench-hit: ## instructions of a 4 KiB read hit, by file, and of a write
	@tests/deps valgrind jq
	@$(MAKE) --no-print-directory all
	@O=$(O) tests/bench-hit

.PHONY: bench-mysql
bench-mysql: ## MariaDB and sysbench in a guest on three pools: all SSD, SSD over a modelled HDD, that HDD alone
	@tests/deps mariadb-server-core mariadb-client-core sysbench
	@$(MAKE) --no-print-directory all
	@O=$(O) tests/bench-mysql

.PHONY: sim
SEED ?= 1
SEEDS ?= 100
sim: $(O)/firn-sim ## SEEDS (100) seeds from SEED (1)
	$(O)/firn-sim explore --seed $(SEED) --seeds $(SEEDS)

.PHONY: scorecard
scorecard: $(O)/firn-sim ## traces of ../shared/traces, else generated ones, through the engine, against other caches; a score
	@O=$(O) tests/scorecard $(if $(JSON),--json) $(TRACES)

PREFIX ?= /usr/local
.PHONY: install
install: all ## programs, man pages, example configuration, service
	install -d $(DESTDIR)$(PREFIX)/bin $(addprefix $(DESTDIR)$(PREFIX)/share/man/man,1 5 8) \
	    $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)/etc/firn
	install -m 755 $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin
	for n in 1 5 8; do install -m 644 etc/man/*.$$n $(DESTDIR)$(PREFIX)/share/man/man$$n || exit 1; done
	sed 's|/usr/local/bin|$(PREFIX)/bin|' etc/firnd.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/firnd.service
	chmod 644 $(DESTDIR)$(PREFIX)/lib/systemd/system/firnd.service
	install -d -m 755 $(DESTDIR)/var/lib/firn
	[ -e $(DESTDIR)/etc/firn/firn.conf ] || install -m 644 etc/firn.conf $(DESTDIR)/etc/firn/firn.conf

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

.DELETE_ON_ERROR:
.SECONDARY:
-include $(shell find $(O)/obj -name '*.d' 2>/dev/null)
