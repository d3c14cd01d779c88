package perdure_test

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/perdure/perdure/"

// layers says which packages of this module a package may import, by prefix:
// one way down, from the command to the storage engines.
// A name that ends in a slash stands for all packages below it, others for themselves alone.
var layers = []struct {
	pkg string
	may []string
	why string
}{
	{"cmd/perdure", []string{"calendar", "calendar/", "durable", "durable/", "store", "store/", "wrangler", "cluster", "cluster/"}, "commands wire everything"},
	{"examples/", []string{"durable", "durable/durabletest", "store/pebblestore", "store/memstore"}, "examples show the library alone"},
	{"e2e/", []string{"calendar/calmcp", "durable", "store/memstore"}, "programs for the suites of others"},
	{"bench/", []string{"bench/internal/", "durable", "store", "store/", "cluster", "cluster/", "calendar", "calendar/"}, "what is measured"},
	{"calendar/worker", []string{"calendar", "calendar/", "durable"}, "the front of the application"},
	{"calendar/calmcp", []string{"calendar", "calendar/sessions", "durable"}, "tools over the service, and their transports"},
	{"calendar/ical", nil, "a format, without the application"},
	{"calendar/caldav/nextcloud", []string{"calendar/caldav"}, "a protocol, without the application"},
	{"calendar/caldav", nil, "a protocol, without the application"},
	{"calendar/internal/classtest", []string{"durable", "store", "store/"}, "for tests of the classes"},
	{"calendar/internal/", []string{"calendar/internal/", "durable"}, "shared by the classes"},
	{"calendar/accounts", []string{"durable"}, "classes: who the users are, nothing of calendars"},
	{"calendar/davserver", []string{"calendar/ical", "durable"}, "a server that knows neither Service nor cache"},
	{"calendar", []string{"calendar/ical", "calendar/caldav", "calendar/calcache", "durable"}, "the domain and the service over the client"},
	{"calendar/sessions", []string{"calendar/internal/", "durable"}, "a class"},
	{"calendar/calcache", []string{"calendar/internal/", "durable"}, "a class"},
	{"cluster", []string{"durable", "store", "store/pgstore"}, "who owns which object"},
	{"cluster/livetest", nil, "tests alone"},
	{"cluster/peer", []string{"durable"}, "the way between nodes knows nothing of who owns what"},
	{"wrangler", nil, "it reads files and nothing else"},
	{"durable/internal/", nil, "leaves"},
	{"durable/durabletest", []string{"durable", "durable/internal/", "store", "store/memstore"}, "a runtime for tests"},
	{"durable", []string{"durable/internal/", "store"}, "the library knows no engine and no application"},
	{"store/", []string{"store"}, "engines and their contract know only the seam"},
	{"store", nil, "the seam"},
	{"internal/golden", nil, "for tests alone"},
}

// foreign are the packages outside the standard library that a layer may import.
var foreign = map[string][]string{
	"durable":           {"github.com/fxamacker/cbor/v2"},
	"store":             {},
	"store/memstore":    {},
	"store/storetest":   {"github.com/google/go-cmp"},
	"internal/golden":   {"github.com/google/go-cmp", "github.com/rogpeppe/go-internal/txtar"},
	"store/pebblestore": {"github.com/cockroachdb/pebble/v2"},
	"store/pgstore":     {"github.com/jackc/pgx/v5"},
	"wrangler":          {"github.com/pelletier/go-toml/v2", "github.com/tailscale/hujson"},
	"calendar/ical":     {},
	"calendar/caldav":   {},
	"calendar/sessions": {},
	"calendar/calcache": {},
	"calendar/accounts": {},
	"calendar/worker":   {"golang.org/x/time/rate"},
	"calendar/calmcp":   {"github.com/modelcontextprotocol/go-sdk", "github.com/google/jsonschema-go"},
}

// measured are the packages that only programs that measure may import.
var measured = []string{"go.etcd.io/bbolt"}

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		pkg := strings.TrimPrefix(fields[0], module)
		for _, path := range fields[1:] {
			checkImport(t, pkg, path)
		}
	}
}

func checkImport(t *testing.T, pkg, path string) {
	if inner, ok := strings.CutPrefix(path, module); ok {
		for _, l := range layers {
			if !matches(pkg, l.pkg) {
				continue
			}
			for _, m := range l.may {
				if matches(inner, m) {
					return
				}
			}
			t.Errorf("%s imports %s, but may import only %v: %s", pkg, inner, l.may, l.why)
			return
		}
		t.Errorf("%s has no layer: enter it in the table", pkg)
		return
	}
	for _, m := range measured {
		if matches(path, m) && !strings.HasPrefix(pkg, "bench/") {
			t.Errorf("%s imports %s, which is for bench/ alone", pkg, path)
		}
	}
	allowed, listed := foreign[pkg]
	if !listed || !strings.Contains(strings.Split(path, "/")[0], ".") {
		return
	}
	for _, a := range allowed {
		if path == a || strings.HasPrefix(path, a+"/") {
			return
		}
	}
	t.Errorf("%s imports %s: it may import only the standard library and %v", pkg, path, allowed)
}

func matches(pkg, pattern string) bool {
	if strings.HasSuffix(pattern, "/") {
		return strings.HasPrefix(pkg, pattern)
	}
	return pkg == pattern
}
