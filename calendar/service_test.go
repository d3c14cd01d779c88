package calendar_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/calendar"
)

func titles(events []calendar.Event) []string {
	out := []string{}
	for _, e := range events {
		out = append(out, e.Title)
	}
	return out
}

func (b *testbed) list(t testing.TB, q calendar.Query) calendar.Events {
	t.Helper()
	got, err := b.ListEvents(t.Context(), q)
	if err != nil {
		t.Fatalf("ListEvents(%+v): %v", q, err)
	}
	return got
}

var year = calendar.Query{Start: "2026-01-01", End: "2026-12-31"}

func TestListCreateUpdateDelete(t *testing.T) {
	b := newTestbed(t, nil)
	ctx := t.Context()
	b.server.put("personal", "a.ics", event("a", ":20260310T090000Z", "DTEND:20260310T100000Z", "SUMMARY:Dentist"))

	cals, err := b.ListCalendars(ctx)
	if err != nil || len(cals.Calendars) != 1 || cals.Calendars[0].ID != "personal" || !cals.Calendars[0].IsDefault {
		t.Fatalf("ListCalendars = %+v, %v", cals, err)
	}
	got := b.list(t, year)
	if diff := cmp.Diff([]string{"Dentist"}, titles(got.Events)); diff != "" {
		t.Fatalf("titles (-want +got):\n%s", diff)
	}
	e := got.Events[0]
	if e.ID != "a" || e.CalendarID != "personal" || e.Start.String() != "2026-03-10T09:00:00.000Z" || e.End.String() != "2026-03-10T10:00:00.000Z" {
		t.Errorf("event = %+v", e)
	}

	made, err := b.CreateEvent(ctx, "", calendar.EventChange{
		Title: calendar.To("Lunch"), Start: calendar.To("2026-03-11T12:00"), TimeZone: calendar.To("Europe/Vienna"),
		Participants: calendar.To([]calendar.Participant{{Email: "bob@example.org", Name: "Bob, the \"builder\""}}),
		Reminders:    calendar.To([]calendar.Reminder{{Type: "notification", MinutesBefore: 15}}),
		ADHDCategory: calendar.To("focus"), Focus: calendar.To(7), Energy: calendar.To(2), Color: calendar.To("#112233"),
	}, nil)
	if err != nil {
		t.Fatalf("CreateEvent: %v", err)
	}
	if made.Event.Start.String() != "2026-03-11T11:00:00.000Z" || made.Event.TimeZone != "Europe/Vienna" || made.TimeZone != "Europe/Vienna" {
		t.Errorf("created %+v", made)
	}
	raw := b.server.data("personal", made.Event.ID+".ics")
	for _, want := range []string{"BEGIN:VTIMEZONE", "DTSTART;TZID=Europe/Vienna:20260311T120000", "X-ADHD-CATEGORY:focus", "X-ADHD-FOCUS-PRIORITY:7", "TRIGGER:-PT15M", "X-APPLE-CALENDAR-COLOR:#112233", "ORGANIZER:mailto:alice@example.org"} {
		if !strings.Contains(raw, want) {
			t.Errorf("stored object lacks %q:\n%s", want, raw)
		}
	}
	b.server.requests()
	if diff := cmp.Diff([]string{"Dentist", "Lunch"}, titles(b.list(t, year).Events)); diff != "" {
		t.Errorf("titles (-want +got):\n%s", diff)
	}
	if reqs := b.server.requests(); len(reqs) != 0 {
		t.Errorf("a list after our own write sent %q", reqs)
	}

	upd, err := b.UpdateEvent(ctx, "personal", made.Event.ID, calendar.EventChange{Start: calendar.To("2026-03-12T12:00:00+01:00")}, calendar.Edit{})
	if err != nil {
		t.Fatalf("UpdateEvent: %v", err)
	}
	if upd.Event.Start.String() != "2026-03-12T11:00:00.000Z" || upd.Event.End.String() != "2026-03-12T12:00:00.000Z" || upd.Scope != "event" {
		t.Errorf("updated %+v", upd)
	}
	raw = b.server.data("personal", made.Event.ID+".ics")
	if !strings.Contains(raw, "SEQUENCE:1") || !strings.Contains(raw, "DTSTART;TZID=Europe/Vienna:20260312T120000") {
		t.Errorf("updated object:\n%s", raw)
	}
	b.takeChanges()
	if _, err := b.DeleteEvent(ctx, "personal", made.Event.ID, calendar.Edit{}); err != nil {
		t.Fatalf("DeleteEvent: %v", err)
	}
	if diff := cmp.Diff([]calendar.Change{{User: "alice", Calendar: "personal", Events: []string{made.Event.ID}, Ours: true}}, b.takeChanges()); diff != "" {
		t.Errorf("changes told (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Dentist"}, titles(b.list(t, year).Events)); diff != "" {
		t.Errorf("titles after delete (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a.ics"}, b.server.names("personal")); diff != "" {
		t.Errorf("server (-want +got):\n%s", diff)
	}
}

// Of a change that its caller gives up, or the end of the server cuts off, nobody can say
// whether it was done.
func TestCancelledWrites(t *testing.T) {
	b := newTestbed(t, nil)
	b.server.put("personal", "a.ics", event("a", ":20260310T090000Z", "SUMMARY:x"))
	b.list(t, year)
	change := map[string]func(ctx context.Context) error{
		"PUT": func(ctx context.Context) error {
			_, err := b.UpdateEvent(ctx, "personal", "a", calendar.EventChange{Title: calendar.To("y")}, calendar.Edit{})
			return err
		},
		"DELETE": func(ctx context.Context) error {
			_, err := b.DeleteEvent(ctx, "personal", "a", calendar.Edit{})
			return err
		},
	}
	for write, do := range change {
		for _, at := range []string{"GET", write} {
			ctx, cancel := context.WithCancel(t.Context())
			b.server.before = func(method, _ string) {
				if method == at {
					cancel()
				}
			}
			if err := do(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, calendar.ErrUncertain) != (at == write) {
				t.Errorf("%s, cancelled at %s: %v", write, at, err)
			}
		}
	}
}

// An answer that was lost does not make a second event.
func TestLostAnswer(t *testing.T) {
	b := newTestbed(t, nil)
	b.list(t, year)
	b.server.lost = "PUT"
	made, err := b.CreateEvent(t.Context(), "", calendar.EventChange{Title: calendar.To("x"), Start: calendar.To("2026-03-10")}, nil)
	if err != nil || len(b.server.names("personal")) != 1 {
		t.Fatalf("CreateEvent = %+v, %v; %d objects", made, err, len(b.server.names("personal")))
	}
	// Of a change nobody can say; it is said, and the next answer is right.
	_, err = b.UpdateEvent(t.Context(), "personal", made.Event.ID, calendar.EventChange{Title: calendar.To("y")}, calendar.Edit{})
	if !errors.Is(err, calendar.ErrUncertain) {
		t.Errorf("UpdateEvent = %v, want ErrUncertain", err)
	}
	b.server.lost = ""
	b.wantTitles(t, "afterwards", "y")
}
