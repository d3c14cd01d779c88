package calendar_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/perdure/perdure/calendar"
)

var update = flag.Bool("update", false, "write the want sections of testdata anew")

// TestDialogues plays changes as a tool sends them to objects as other programs write
// them. An archive has the object, the calls (a method, a recurrence id or "-", and a
// change as JSON, a line each), and what is wanted: the answers, the requests, and the
// object as the server then has it. Time is synctest's.
func TestDialogues(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dialogues: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { playDialogue(t, file) })
		})
	}
}

func playDialogue(t *testing.T, file string) {
	ar, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	section := func(name string) *txtar.File {
		for i := range ar.Files {
			if ar.Files[i].Name == name {
				return &ar.Files[i]
			}
		}
		ar.Files = append(ar.Files, txtar.File{Name: name})
		return &ar.Files[len(ar.Files)-1]
	}
	b := newTestbed(t, nil)
	b.server.schedules = true
	b.server.put("personal", "a.ics", string(section("object").Data))
	var got strings.Builder
	for line := range strings.Lines(string(section("calls").Data)) {
		line = strings.TrimSpace(line)
		got.WriteString("> " + line + "\n")
		words := strings.SplitN(line, " ", 3)
		got.WriteString(b.call(t, words) + "\n")
	}
	got.WriteString("requests\n  " + strings.Join(b.server.requests(), "\n  ") + "\n")
	for _, want := range []struct{ name, text string }{
		{"answers", got.String()}, {"stored", strings.ReplaceAll(b.server.data("personal", "a.ics"), "\r\n", "\n")},
	} {
		s := section(want.name)
		if *update {
			s.Data = []byte(want.text)
		} else if diff := cmp.Diff(string(s.Data), want.text); diff != "" {
			t.Errorf("%s (-want +got):\n%s", want.name, diff)
		}
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(ar), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

func (b *testbed) call(t *testing.T, words []string) string {
	var change calendar.EventChange
	if len(words) > 2 {
		if err := json.Unmarshal([]byte(words[2]), &change); err != nil {
			t.Fatalf("%s: %v", words[2], err)
		}
	}
	how := calendar.Edit{}
	if len(words) > 1 && words[1] != "-" {
		how.RecurrenceID = words[1]
	}
	var r calendar.Result
	var err error
	switch words[0] {
	case "get":
		r, err = b.GetEvent(t.Context(), "personal", "a", how.RecurrenceID)
	case "update":
		r, err = b.UpdateEvent(t.Context(), "personal", "a", change, how)
	case "delete":
		if r, err = b.DeleteEvent(t.Context(), "personal", "a", how); err == nil {
			return "deleted " + r.Scope
		}
	default:
		t.Fatalf("unknown call %q", words[0])
	}
	if err != nil {
		return "error: " + err.Error()
	}
	text, err := json.MarshalIndent(r.Event, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	out := r.Scope + " in " + r.TimeZone + " " + string(text)
	if len(r.Notified) > 0 {
		out += "\nnotified " + strings.Join(r.Notified, " ")
	}
	return out
}
