# Only steps that are not a plain go command.

GO ?= go
# Packages whose tests run under the race detector too.
RACE = ./durable/... ./store/... ./cluster/... ./calendar/... ./cmd/...

.PHONY: test e2e build fuzz bench

# test is everything that must pass: formatting, vet, all tests (conformance, crash,
# fuzz seeds, the corpus against a real process), and the same under the race detector.
# It first installs the CalDAV servers and clients that tests talk to.
test:
	@scripts/test-deps.sh
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$unformatted" ]; then echo "gofmt: $$unformatted"; exit 1; fi
	$(GO) vet ./...
	CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/perdure
	$(GO) test -count=1 ./...
	$(GO) test -count=1 -race -short $(RACE)
	$(MAKE) e2e

# e2e runs the client libraries of assistants, the inspector and the protocol's
# conformance suite against the built program.
e2e:
	cd e2e && npm ci --no-progress --loglevel=error
	CGO_ENABLED=0 $(GO) build -o e2e/bin/ ./cmd/perdure ./e2e/conformance
	cd e2e && npm test

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags=-s -o bin/perdure ./cmd/perdure

# fuzz runs every fuzz target for a short while.
FUZZTIME ?= 20s
fuzz:
	@for pkg in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
		done; \
	done

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./durable ./store/pebblestore ./store/pgstore
