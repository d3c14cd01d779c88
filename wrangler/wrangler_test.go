package wrangler_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/perdure/perdure/internal/golden"
	"github.com/perdure/perdure/wrangler"
)

// TestCases runs the archives of testdata. The comment of an archive may hold
// lines with settings:
//
//	env NAME        the environment to load
//	classes A B     plan, for a program with these classes
//	applied v1 v2   tags that the data folder has recorded
//	have A B        classes that the data folder has recorded
//
// The file want is what comes out; all others are put into a folder.
func TestCases(t *testing.T) {
	golden.Archives(t, runCase)
}

func runCase(t *testing.T, a *golden.Archive) {
	settings := make(map[string][]string)
	for line := range strings.Lines(string(a.Comment)) {
		if f := strings.Fields(line); len(f) > 0 {
			settings[f[0]] = f[1:]
		}
	}
	t.Chdir(t.TempDir())
	for _, f := range a.Files {
		if f.Name == "want" {
			continue
		}
		if err := os.WriteFile(f.Name, f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a.Want(t, "want", outcome(settings))
}

// outcome does everything that the package does and tells it line by line.
func outcome(settings map[string][]string) string {
	var b strings.Builder
	path, err := wrangler.Find(".")
	if err != nil {
		return fmt.Sprintf("error\n%v\n", err)
	}
	cfg, err := wrangler.Load(path, strings.Join(settings["env"], " "))
	if err != nil {
		return fmt.Sprintf("error\n%v\n", err)
	}
	fmt.Fprintf(&b, "file %s, name %q, quota %d\n", cfg.Path, cfg.Name, cfg.Quota)
	for _, x := range cfg.Bindings {
		fmt.Fprintf(&b, "%d: binding %s is %s %s\n", x.Line, x.Name, x.ClassName, x.ScriptName)
	}
	for _, m := range cfg.Migrations {
		fmt.Fprintf(&b, "%d: migration %s new %v sqlite %v renamed %v deleted %v\n", m.Line, m.Tag, m.NewClasses, m.NewSQLiteClasses, m.Renamed, m.Deleted)
	}
	for _, w := range cfg.Warnings {
		fmt.Fprintf(&b, "warning %s\n", w)
	}
	vars, err := cfg.Variables("")
	if err != nil {
		return fmt.Sprintf("%serror\n%v\n", b.String(), err)
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		fmt.Fprintf(&b, "var %s = %q\n", name, vars[name])
	}
	if classes, ok := settings["classes"]; ok {
		plan, err := cfg.Plan(wrangler.State{Applied: settings["applied"], Classes: settings["have"]}, classes)
		if err != nil {
			return fmt.Sprintf("%serror\n%v\n", b.String(), err)
		}
		for _, m := range plan.Pending {
			fmt.Fprintf(&b, "pending %s\n", m.Tag)
		}
		fmt.Fprintf(&b, "deletes %v renames %v creates %v\nnext %v %v\n", plan.Deletes, plan.Renames, plan.Creates, plan.Next.Applied, plan.Next.Classes)
	}
	return b.String()
}

func TestFindOrder(t *testing.T) {
	dir := t.TempDir()
	if _, err := wrangler.Find(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Find(empty folder) = %v, want fs.ErrNotExist", err)
	}
	// A folder of that name is not a configuration file.
	if err := os.Mkdir(filepath.Join(dir, "wrangler.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"wrangler.toml", "wrangler.jsonc"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := wrangler.Find(dir); err != nil || filepath.Base(got) != name {
			t.Errorf("Find = %q, %v, want %s", got, err, name)
		}
	}
	if err := os.Remove(filepath.Join(dir, "wrangler.json")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "wrangler.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := wrangler.Find(dir); err != nil || filepath.Base(got) != "wrangler.json" {
		t.Errorf("Find = %q, %v, want wrangler.json", got, err)
	}
}

func TestLoadMissing(t *testing.T) {
	if _, err := wrangler.Load(filepath.Join(t.TempDir(), "wrangler.toml"), ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load(missing) = %v, want fs.ErrNotExist", err)
	}
	if _, err := wrangler.LoadVars(filepath.Join(t.TempDir(), ".env")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("LoadVars(missing) = %v, want fs.ErrNotExist", err)
	}
}

func TestLimits(t *testing.T) {
	repeat := strings.Repeat
	deepTables := "[" + repeat("a.", 64) + "a]\n"
	for _, c := range []struct{ name, path, text, want string }{
		{"size", "wrangler.toml", repeat("#\n", 1<<19) + "#", "wrangler.toml: file is larger than the limit of 1048576 bytes"},
		{"json arrays", "wrangler.json", `{"a":` + repeat("[", 1<<19) + `}`, "wrangler.json:1: nested deeper than the limit of 64"},
		{"json strings are not nested", "wrangler.json", `{"a":"` + repeat("[", 100) + `\"` + repeat("[", 100) + `"} // ` + repeat("[", 100) + "\n/*" + repeat("[", 100) + "*/", ""},
		{"toml arrays", "wrangler.toml", "\na = " + repeat("[", 64) + repeat("]", 64), "wrangler.toml:2: nested deeper than the limit of 64"},
		{"toml inline", "wrangler.toml", "a = " + repeat("{a=", 64) + "1" + repeat("}", 64), "wrangler.toml:1: nested deeper than the limit of 64"},
		{"toml keys", "wrangler.toml", manyVars(10_001), "wrangler.toml: file has more than the limit of 10000 keys"},
		{"toml inline keys", "wrangler.toml", "a = [" + repeat("{a=1},", 10_000) + "]", "wrangler.toml: file has more than the limit of 10000 keys"},
		{"toml dotted", "wrangler.toml", repeat("a.", 9_000) + "a = 1", "wrangler.toml:1: nested deeper than the limit of 64"},
		{"toml header", "wrangler.toml", deepTables, "wrangler.toml:1: nested deeper than the limit of 64"},
		{"toml deep enough", "wrangler.toml", "[" + repeat("a.", 62) + "a]\nb=1", ""},
		{"bindings", "wrangler.json", `{"durable_objects":{"bindings":[` + repeat(`{},`, 1001) + `]}}`, `wrangler.json:1: "bindings" has 1001 entries, more than the limit of 1000`},
		{"classes", "wrangler.json", `{"migrations":[{"tag":"v1","new_classes":[` + repeat(`"A",`, 1001) + `]}]}`, `wrangler.json:1: "new_classes" has 1001 entries, more than the limit of 1000`},
		{"vars", "wrangler.toml", "[vars]\n" + manyVars(1001), `wrangler.toml:1: "vars" has 1001 entries, more than the limit of 1000`},
		{"name", "wrangler.toml", "name = \"" + repeat("a", 257) + "\"", `wrangler.toml:1: "name" is longer than the limit of 256 bytes`},
		{"text", "wrangler.toml", "a=1\n# \xff", "wrangler.toml:2: file is not UTF-8 text"},
		{"mark", "wrangler.toml", "\xef\xbb\xbfname = \"a\"", ""},
		{"format", "wrangler.yaml", "", `wrangler.yaml: extension ".yaml" is none of .toml, .json and .jsonc`},
		{"problems", "wrangler.toml", repeat("[[migrations]]\n", 30), "and 10 more"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := wrangler.Parse(c.path, []byte(c.text), "")
			got := fmt.Sprint(err)
			if err == nil {
				got = ""
			}
			if c.name == "problems" {
				_, got, _ = strings.Cut(got, "wrangler.toml: ")
			}
			if got != c.want {
				t.Errorf("Parse = %.300s, want %s", got, c.want)
			}
		})
	}
}

func manyVars(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "A%d=1\n", i)
	}
	return b.String()
}

func TestErrorFacts(t *testing.T) {
	_, err := wrangler.Parse("wrangler.toml", []byte("name = 1\n[vars]\nA = 1979-05-27\n"), "")
	var e *wrangler.Error
	if !errors.As(err, &e) {
		t.Fatalf("Parse = %v, want an *Error", err)
	}
	want := wrangler.Error{Path: "wrangler.toml", Line: 1, Problem: `"name" must be a string, not an integer`}
	if diff := cmp.Diff(want, *e); diff != "" {
		t.Errorf("first error (-want +got):\n%s", diff)
	}
}

// A plan carried out leaves nothing to do, whatever folder it started from, and
// all ways through the migrations end in the same place.
func TestPlanConverges(t *testing.T) {
	text := `
[[migrations]]
tag = "v1"
new_classes = ["A", "B", "C"]
[[migrations]]
tag = "v2"
renamed_classes = [{ from = "A", to = "B" }, { from = "B", to = "A" }]
[[migrations]]
tag = "v3"
deleted_classes = ["A"]
renamed_classes = [{ from = "C", to = "A" }]
new_sqlite_classes = ["C"]
[[migrations]]
tag = "v4"
deleted_classes = ["C"]
new_sqlite_classes = ["D"]
`
	cfg, err := wrangler.Parse("wrangler.toml", []byte(text), "")
	if err != nil {
		t.Fatal(err)
	}
	classes := []string{"A", "B", "C", "D"}
	states := []wrangler.State{{}}
	for i := range cfg.Migrations {
		part := *cfg
		part.Migrations = cfg.Migrations[:i+1]
		plan, err := part.Plan(states[i], classes)
		if err != nil {
			t.Fatalf("Plan up to %s: %v", cfg.Migrations[i].Tag, err)
		}
		states = append(states, plan.Next)
	}
	end := states[len(states)-1]
	for i, have := range states {
		plan, err := cfg.Plan(have, classes)
		if err != nil {
			t.Fatalf("Plan(%v) = %v", have, err)
		}
		if diff := cmp.Diff(end, plan.Next); diff != "" {
			t.Errorf("Plan(%v).Next (-want +got):\n%s", have, diff)
		}
		if diff := cmp.Diff(end.Classes, carryOut(plan, have.Classes)); diff != "" {
			t.Errorf("carried out from state %d (-want +got):\n%s", i, diff)
		}
	}
	plan, err := cfg.Plan(end, classes)
	if want := (&wrangler.Plan{Next: end}); err != nil || !cmp.Equal(plan, want) {
		t.Errorf("Plan(end) = %+v, %v, want %+v", plan, err, want)
	}
}

// carryOut does what Plan says its fields mean.
func carryOut(plan *wrangler.Plan, have []string) []string {
	live := make(map[string]bool)
	for _, name := range have {
		live[name] = true
	}
	for _, c := range plan.Deletes {
		delete(live, c.Name)
	}
	for _, r := range plan.Renames {
		delete(live, r.From)
	}
	for _, r := range plan.Renames {
		live[r.To] = true
	}
	for _, c := range plan.Creates {
		live[c.Name] = true
	}
	return slices.Sorted(maps.Keys(live))
}
