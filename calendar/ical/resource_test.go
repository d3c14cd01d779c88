package ical

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestResource(t *testing.T) {
	bad := map[string]error{
		"method": ErrMethod, "mixed": ErrMixedKinds, "nodtstart": ErrNoStart, "nouid": ErrNoUID,
		"onlytz": ErrNoComponent, "twomasters": ErrManyMasters, "twouids": ErrManyUIDs,
	}
	badValue := map[string]bool{"baddate": true, "badrrule": true, "badrrule2": true}
	kinds := map[string]string{"todo": "VTODO", "journal": "VJOURNAL"}
	files, _ := filepath.Glob("testdata/cases/*.ics")
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		cal, err := Parse(data, nil)
		if err != nil {
			continue
		}
		name := strings.TrimSuffix(filepath.Base(f), ".ics")
		kind, uid, err := cal.Resource()
		var ve *ValueError
		switch {
		case badValue[name]:
			if !errors.As(err, &ve) {
				t.Errorf("%s: %v, want a *ValueError", name, err)
			}
		case !errors.Is(err, bad[name]) || (err != nil) != (bad[name] != nil):
			t.Errorf("%s: %v, want %v", name, err, bad[name])
		case err == nil:
			want := kinds[name]
			if want == "" {
				want = "VEVENT"
			}
			if kind != want || uid == "" {
				t.Errorf("%s: Resource() = %s, %q, want %s and a UID", name, kind, uid, want)
			}
		}
	}
}

// An Object only reads: many goroutines may ask at once (for -race).
func TestObjectIsConcurrent(t *testing.T) {
	data, err := os.ReadFile("testdata/cases/recur_customtz.ics")
	if err != nil {
		t.Fatal(err)
	}
	o := NewObject(parse(t, string(data)), nil)
	id, _ := ParseTime("20260323T120000", "Nowhere/Else")
	done := make(chan int)
	for range 8 {
		go func() {
			o.Occurrence("", id)
			o.Extent()
			o.Matches("VEVENT", at(t, "20260101T000000Z"), at(t, "20270101T000000Z"))
			done <- len(o.Expand(at(t, "20260101T000000Z"), at(t, "20270101T000000Z"), nil).Instances)
		}()
	}
	for range 8 {
		if n := <-done; n != 4 {
			t.Errorf("%d instances, want 4", n)
		}
	}
}
