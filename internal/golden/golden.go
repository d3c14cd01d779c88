// Package golden keeps what tests expect beside what it is made of: in txtar archives.
// With the flag -update of a test binary that imports it what was got is written instead
// of compared.
package golden

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write what was got into testdata")

// Archive is a file of testdata: a comment and sections.
type Archive struct {
	*txtar.Archive
	last    int // index of the section that was asked for last
	changed bool
}

// Archives runs a test for each archive of testdata, by its name.
func Archives(t *testing.T, run func(t *testing.T, a *Archive)) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no archives in testdata: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			path, err := filepath.Abs(file) // the test may go elsewhere
			if err != nil {
				t.Fatal(err)
			}
			a := &Archive{Archive: ar, last: -1}
			run(t, a)
			if a.changed {
				write(t, path, txtar.Format(ar))
			}
		})
	}
}

// Section returns the text of a section; found is false if there is none.
func (a *Archive) Section(name string) (text string, found bool) {
	for i, f := range a.Files {
		if f.Name == name {
			a.last = i
			return string(f.Data), true
		}
	}
	return "", false
}

// Want compares a section with what was got. One that -update makes anew stands behind
// the section that was asked for last.
func (a *Archive) Want(t *testing.T, name, got string) {
	t.Helper()
	want, found := a.Section(name)
	if !*update {
		if diff := cmp.Diff(want, got); diff != "" || !found {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		return
	}
	if !found {
		a.last++
		a.Files = append(a.Files[:a.last:a.last], append([]txtar.File{{Name: name}}, a.Files[a.last:]...)...)
	}
	a.Files[a.last].Data = []byte(got)
	a.changed = true
}

// File compares a whole file of testdata with what was got.
func File(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		write(t, path, []byte(got))
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
}
