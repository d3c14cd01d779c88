package calendar_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/internal/golden"
)

// TestDialogues plays changes as a tool sends them to objects as other programs write
// them. An archive has the object, the calls (a method, a recurrence id or "-", and a
// change as JSON, a line each), and what is wanted: the answers, the requests, and the
// object as the server then has it. Time is synctest's.
func TestDialogues(t *testing.T) {
	golden.Archives(t, func(t *testing.T, a *golden.Archive) {
		synctest.Test(t, func(t *testing.T) { playDialogue(t, a) })
	})
}

func playDialogue(t *testing.T, a *golden.Archive) {
	b := newTestbed(t, nil)
	b.server.schedules = true
	object, _ := a.Section("object")
	b.server.put("personal", "a.ics", object)
	calls, _ := a.Section("calls")
	var got strings.Builder
	for line := range strings.Lines(calls) {
		line = strings.TrimSpace(line)
		got.WriteString("> " + line + "\n")
		words := strings.SplitN(line, " ", 3)
		got.WriteString(b.call(t, words) + "\n")
	}
	got.WriteString("requests\n  " + strings.Join(b.server.requests(), "\n  ") + "\n")
	a.Want(t, "answers", got.String())
	a.Want(t, "stored", strings.ReplaceAll(b.server.data("personal", "a.ics"), "\r\n", "\n"))
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
