package wrangler

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/txtar"
)

// seed adds the files of testdata whose names end in one of the suffixes.
func seed(f *testing.F, suffixes ...string) {
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			if slices.ContainsFunc(suffixes, func(s string) bool { return strings.Contains(file.Name, s) }) {
				f.Add(file.Data)
			}
		}
	}
}

func FuzzTOML(f *testing.F) {
	seed(f, ".toml")
	f.Fuzz(func(t *testing.T, data []byte) { checkParse(t, "wrangler.toml", data) })
}

func FuzzJSONC(f *testing.F) {
	seed(f, ".json")
	f.Fuzz(func(t *testing.T, data []byte) { checkParse(t, "wrangler.jsonc", data) })
}

// checkParse holds what is true of any input: errors name the file and a line of
// it, lines of what was read exist, JSON variables are JSON, and a plan for an
// empty folder leaves a state for which there is nothing to do.
func checkParse(t *testing.T, path string, data []byte) {
	before := string(data)
	lines := strings.Count(before, "\n") + 2
	for _, env := range []string{"", "staging"} {
		cfg, err := Parse(path, data, env)
		if string(data) != before {
			t.Fatalf("Parse changed its input")
		}
		if err != nil {
			checkError(t, err, path, lines)
			continue
		}
		var classes []string
		for _, b := range cfg.Bindings {
			if b.Line < 1 || b.Line > lines || b.Name == "" || b.ClassName == "" {
				t.Errorf("binding %+v of a file with %d lines", b, lines)
			}
			classes = append(classes, b.ClassName)
		}
		for _, m := range cfg.Migrations {
			for _, c := range m.created() {
				classes = append(classes, c.Name)
			}
			for _, r := range m.Renamed {
				classes = append(classes, r.To)
			}
		}
		plan, err := cfg.Plan(State{}, classes)
		if err != nil {
			checkError(t, err, path, lines)
			continue
		}
		again, err := cfg.Plan(plan.Next, classes)
		if err != nil || len(again.Pending)+len(again.Deletes)+len(again.Renames)+len(again.Creates) > 0 {
			t.Errorf("Plan after Plan = %+v, %v, want nothing to do", again, err)
		}
	}
}

func checkError(t *testing.T, err error, path string, lines int) {
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is no *Error", err)
	}
	if e.Path != path || e.Line < 0 || e.Line > lines || e.Problem == "" {
		t.Errorf("error %+v of a file with %d lines", *e, lines)
	}
}

func FuzzVars(f *testing.F) {
	seed(f, ".vars", ".env")
	f.Fuzz(func(t *testing.T, data []byte) {
		vars, err := parseVars(".env", data)
		if err != nil {
			checkError(t, err, ".env", strings.Count(string(data), "\n")+strings.Count(string(data), "\r")+1)
			return
		}
		for name, value := range vars {
			if name == "" || strings.TrimFunc(name, isNameRune) != "" || !utf8.ValidString(value) {
				t.Errorf("variable %q = %q", name, value)
			}
		}
	})
}

// FuzzVarsRoundTrip writes any value in single quotes or backquotes and reads it.
func FuzzVarsRoundTrip(f *testing.F) {
	f.Add("a#b $c\n\"d\"", "x")
	f.Add(`C:\`, "`")
	f.Fuzz(func(t *testing.T, value, next string) {
		if !utf8.ValidString(value) || strings.ContainsAny(value, "`\r") || strings.HasSuffix(value, `\`) {
			t.Skip()
		}
		got, err := parseVars(".env", []byte("A=`"+value+"`\nB=1\n"))
		if err != nil || got["A"] != value || got["B"] != "1" {
			t.Errorf("A=`%s` gives %q, %v", value, got, err)
		}
	})
}

func TestJSONText(t *testing.T) {
	data := []byte(`{"a":"<\"é\u2028>","b":[1,1.50,1e3,12345678901234567890123,-0],"c":{"z":null,"y":true}}`)
	root, err := parseJSONC("a.json", data)
	if err != nil {
		t.Fatal(err)
	}
	got, err := root.json()
	want := `{"a":"<\"é\u2028>","b":[1,1.5,1000,12345678901234567890123,0],"c":{"z":null,"y":true}}`
	if err != nil || got != want || !json.Valid([]byte(got)) {
		t.Errorf("json = %s, %v, want %s", got, err, want)
	}
}

// A secret must not show in an error, whatever is wrong with its line.
func TestVarsErrorsHideValues(t *testing.T) {
	dir := t.TempDir()
	for _, text := range []string{
		"hunter2",
		"A=1\nexport hunter2",
		"A='hunter2",
		"A=\"hunter2\" hunter2",
		"A=`hunter2\nB=hunter2",
		"hunter2 hunter2=hunter2",
		"=hunter2",
		"A hunter2",
		"A:hunter2",
		"A=1\n\xff hunter2",
		strings.Repeat("hunter2", 100) + "=1",
	} {
		path := filepath.Join(dir, ".dev.vars")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := LoadVars(path)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("LoadVars(%q) = %v, want an error without the value", text, err)
		}
	}
}

func TestVarsLimits(t *testing.T) {
	var b strings.Builder
	for i := range maxItems + 1 {
		b.WriteString("A" + strings.Repeat("x", i%200) + string(rune('0'+i/200)) + "=1\n")
	}
	_, err := parseVars(".env", []byte(b.String()))
	if err == nil || !strings.Contains(err.Error(), ".env:1001: file has more than the limit of 1000 variables") {
		t.Errorf("parseVars(1001 variables) = %v", err)
	}
	_, err = parseVars(".env", []byte(strings.Repeat("#\n", maxFile/2)+"#"))
	if err == nil || !strings.Contains(err.Error(), "limit of 1048576 bytes") {
		t.Errorf("parseVars(large file) = %v", err)
	}
}
