package calendar_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/calendar"
)

// A refresh by the change itself does not pass for what the caller saw.
func TestConflictWithWhatARefreshBrings(t *testing.T) {
	for name, opts := range map[string]*calendar.Options{"expired": {TTL: 1}, "always checked": {AlwaysCheck: true}} {
		for _, tt := range []struct {
			what   string
			change calendar.EventChange
			want   error
		}{
			{"the same field", calendar.EventChange{Title: calendar.To("Ours")}, calendar.ErrConflict},
			{"the same field to the same", calendar.EventChange{Title: calendar.To("Theirs")}, nil},
			{"another field", calendar.EventChange{Location: calendar.To("Linz")}, nil},
		} {
			b := newTestbed(t, opts)
			b.server.put("personal", "a.ics", event("a", ":20260310T090000Z", "SUMMARY:Before"))
			b.list(t, year)
			b.server.put("personal", "a.ics", event("a", ":20260310T090000Z", "SUMMARY:Theirs"))
			_, err := b.UpdateEvent(t.Context(), "personal", "a", tt.change, calendar.Edit{})
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("%s, %s: UpdateEvent = %v, want %v", name, tt.what, err, tt.want)
			}
			if got := b.server.data("personal", "a.ics"); !strings.Contains(got, "SUMMARY:Theirs") {
				t.Errorf("%s, %s: their title was overwritten:\n%s", name, tt.what, got)
			}
			b.list(t, year) // now the caller knows
			b.update(t, "a", tt.change, calendar.Edit{})
		}
		// Changes of our own in a row are no conflict, whatever happens to the copy.
		b := newTestbed(t, opts)
		b.server.put("personal", "a.ics", event("a", ":20260310T090000Z", "SUMMARY:a", "DESCRIPTION:"+strings.Repeat("x", 150_000))) // too large to be patched
		b.list(t, year)
		for i := range 4 {
			b.update(t, "a", calendar.EventChange{Title: calendar.To(strings.Repeat("x", i+1))}, calendar.Edit{})
		}
	}
}

// changed stores an object, changes it, and returns the lines that were added and removed.
func (b *testbed) changed(t *testing.T, data string, c calendar.EventChange) (added, removed []string) {
	t.Helper()
	b.server.put("personal", "a.ics", data)
	b.update(t, "a", c, calendar.Edit{})
	added, removed = changedLines(data, withoutTimezone(b.server.data("personal", "a.ics")))
	return withoutStamps(added), withoutStamps(removed)
}

// An end that is told in another zone leaves the series where it is.
func TestEndInAnotherZone(t *testing.T) {
	for _, tt := range []struct{ start, end, want string }{
		{";TZID=Europe/Vienna:20260302T150000", "DTEND;TZID=Europe/Vienna:20260302T160000", "DTEND;TZID=Europe/Vienna:20260302T170000"},
		{":20260302T140000Z", "DTEND:20260302T150000Z", "DTEND:20260302T160000Z"},
	} {
		b := newTestbed(t, nil)
		added, removed := b.changed(t, event("a", tt.start, tt.end, "RRULE:FREQ=WEEKLY;COUNT=4"),
			calendar.EventChange{End: calendar.To("2026-03-02T11:00"), TimeZone: calendar.To("America/New_York")})
		if diff := cmp.Diff([]string{tt.want, "SEQUENCE:1"}, added, sortLines); diff != "" {
			t.Errorf("added lines (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{tt.end}, removed); diff != "" {
			t.Errorf("removed lines (-want +got):\n%s", diff)
		}
	}
}

var sortLines = cmp.Transformer("sort", func(in []string) map[string]int {
	out := map[string]int{}
	for _, s := range in {
		out[s]++
	}
	return out
})

// The occurrence with which another program changed "this and all that follow" can't be
// changed alone, and what follows does not change along.
func TestThisAndFutureIsNotChangedAlong(t *testing.T) {
	data := strings.Replace(event("a", ":20260302T090000Z", "RRULE:FREQ=DAILY;COUNT=5", "SUMMARY:S"), "END:VCALENDAR",
		"BEGIN:VEVENT\r\nUID:a\r\nDTSTAMP:20260101T000000Z\r\nRECURRENCE-ID;RANGE=THISANDFUTURE:20260304T090000Z\r\nDTSTART:20260304T100000Z\r\nSUMMARY:Later\r\nEND:VEVENT\r\nEND:VCALENDAR", 1)
	b := newTestbed(t, nil)
	b.server.put("personal", "a.ics", data)
	change := calendar.EventChange{Title: calendar.To("Once")}
	_, err := b.UpdateEvent(t.Context(), "personal", "a", change, calendar.Edit{RecurrenceID: "2026-03-04T09:00:00Z"})
	if !errors.Is(err, calendar.ErrInvalid) || b.server.data("personal", "a.ics") != data {
		t.Errorf("UpdateEvent = %v, want ErrInvalid and nothing written:\n%s", err, b.server.data("personal", "a.ics"))
	}
	b.update(t, "a", change, calendar.Edit{RecurrenceID: "2026-03-05T09:00:00Z"})
	b.wantTitles(t, "one later occurrence", "S", "S", "Later", "Once", "Later")
}

// A rule that is sent back stays as it is written, and one that is changed keeps what
// the caller could not see.
func TestRuleSentBack(t *testing.T) {
	for _, tt := range []struct {
		rule   string
		change func(*calendar.Recurrence)
		want   string // "" for ErrInvalid
	}{
		{"FREQ=DAILY;BYMINUTE=0;COUNT=20;BYHOUR=9,17", func(*calendar.Recurrence) {}, "FREQ=DAILY;BYMINUTE=0;COUNT=20;BYHOUR=9,17"},
		{"FREQ=HOURLY;INTERVAL=4;COUNT=20", func(*calendar.Recurrence) {}, "FREQ=HOURLY;INTERVAL=4;COUNT=20"},
		{"FREQ=DAILY;UNTIL=20260304T233000Z;X-A=1", func(*calendar.Recurrence) {}, "FREQ=DAILY;UNTIL=20260304T233000Z;X-A=1"},
		{"FREQ=DAILY;COUNT=20;BYHOUR=9,17", func(r *calendar.Recurrence) { r.Count = 10 }, "FREQ=DAILY;COUNT=10;BYHOUR=9,17"},
		{"FREQ=YEARLY;COUNT=3;BYWEEKNO=10", func(r *calendar.Recurrence) { r.Count = 4 }, "FREQ=YEARLY;COUNT=4;BYWEEKNO=10"},
		{"FREQ=YEARLY;COUNT=3;BYWEEKNO=10", func(r *calendar.Recurrence) { r.ByMonth = []int{3} }, ""},
		{"FREQ=HOURLY;INTERVAL=4;COUNT=20", func(r *calendar.Recurrence) { r.Count = 10 }, ""},
		{"FREQ=HOURLY;INTERVAL=4;COUNT=20;BYMINUTE=30", func(r *calendar.Recurrence) { r.Frequency, r.Interval = "daily", 1 }, "FREQ=DAILY;COUNT=20"},
	} {
		b := newTestbed(t, nil)
		b.server.put("personal", "a.ics", event("a", ":20260302T090000Z", "DURATION:PT1H", "RRULE:"+tt.rule))
		rule := *b.list(t, year).Events[0].Recurrence
		tt.change(&rule)
		_, err := b.UpdateEvent(t.Context(), "personal", "a", calendar.EventChange{Recurrence: calendar.To(&rule)}, calendar.Edit{})
		if (err == nil) != (tt.want != "") || err != nil && !errors.Is(err, calendar.ErrInvalid) {
			t.Errorf("%s to %+v: UpdateEvent = %v, want error %v", tt.rule, rule, err, tt.want == "")
		}
		want := tt.want
		if want == "" {
			want = tt.rule
		}
		if got := b.server.data("personal", "a.ics"); !sameRule(t, got, want) {
			t.Errorf("%s to %+v: want %s in\n%s", tt.rule, rule, want, got)
		}
	}
}

// sameRule compares the parts of an object's rule, which have no order.
func sameRule(t *testing.T, data, want string) bool {
	t.Helper()
	_, rest, _ := strings.Cut(data, "RRULE:")
	got, _, _ := strings.Cut(rest, "\r\n")
	return cmp.Equal(strings.Split(got, ";"), strings.Split(want, ";"), sortLines)
}

// Exceptions that stand in an event and hit nothing may be sent back, with others too; new
// ones have to hit.
func TestExceptionsSentBack(t *testing.T) {
	data := event("a", ":20260302T090000Z", "RRULE:FREQ=WEEKLY;COUNT=5", "EXDATE:20260303T090000Z,20260309T090000Z")
	for _, tt := range []struct {
		what, add string
		count     int
		bad       bool
	}{
		{"as they are", "", 5, false},
		{"with another rule", "", 6, false},
		{"with one more", "2026-03-16", 5, false},
		{"with one that hits nothing", "2026-03-17", 5, true},
	} {
		b := newTestbed(t, nil)
		b.server.put("personal", "a.ics", data)
		rule := *b.list(t, year).Events[0].Recurrence
		if len(rule.ExDates) != 2 {
			t.Fatalf("exDates %q, want 2", rule.ExDates)
		}
		rule.Count = tt.count
		if tt.add != "" {
			rule.ExDates = append(rule.ExDates, tt.add)
		}
		_, err := b.UpdateEvent(t.Context(), "personal", "a", calendar.EventChange{Recurrence: calendar.To(&rule)}, calendar.Edit{})
		if errors.Is(err, calendar.ErrInvalid) != tt.bad || (err != nil) != tt.bad {
			t.Errorf("%s: UpdateEvent = %v, want refused %t", tt.what, err, tt.bad)
		}
		if tt.bad && b.server.data("personal", "a.ics") != data {
			t.Errorf("%s: stored\n%s", tt.what, b.server.data("personal", "a.ics"))
		}
	}
}

// Control characters that another program wrote stay, also when they are sent back. (XML lets
// only this one through.)
func TestControlCharactersSentBack(t *testing.T) {
	data := event("a", ":20260310T090000Z", "SUMMARY:a\u007fb", "LOCATION:\u007f[1m", "CATEGORIES:x\u007f")
	b := newTestbed(t, nil)
	b.server.put("personal", "a.ics", data)
	e := b.list(t, year).Events[0]
	if e.Title != "a\u007fb" || e.Location != "\u007f[1m" || !cmp.Equal(e.Categories, []string{"x\u007f"}) {
		t.Fatalf("read %q, %q, %q", e.Title, e.Location, e.Categories)
	}
	added, removed := b.changed(t, data, calendar.EventChange{Title: calendar.To(e.Title), Location: calendar.To(e.Location),
		Categories: calendar.To(e.Categories), Description: calendar.To("new")})
	if diff := cmp.Diff([]string{"DESCRIPTION:new"}, added); diff != "" || len(removed) != 0 {
		t.Errorf("removed %q, added (-want +got):\n%s", removed, diff)
	}
	_, err := b.UpdateEvent(t.Context(), "personal", "a", calendar.EventChange{Title: calendar.To("a\u007fbc")}, calendar.Edit{})
	if !errors.Is(err, calendar.ErrInvalid) {
		t.Errorf("UpdateEvent with a new title = %v, want ErrInvalid", err)
	}
}

// What other programs wrote may be sent back, though nobody would be let write it.
func TestListsSentBack(t *testing.T) {
	data := event("a", ":20260310T090000Z", "ATTENDEE:urn:uuid:room-1", "ATTENDEE;CN=B:mailto:bob@example.org", "ATTENDEE;CN=Bob:mailto:bob@example.org",
		"BEGIN:VALARM", "ACTION:DISPLAY", "TRIGGER:PT10M", "END:VALARM")
	b := newTestbed(t, nil)
	b.server.put("personal", "a.ics", data)
	e := b.list(t, year).Events[0]
	if len(e.Participants) != 3 || len(e.Reminders) != 1 || e.Reminders[0].MinutesBefore != -10 {
		t.Fatalf("read %+v", e)
	}
	added, removed := b.changed(t, data, calendar.EventChange{
		Participants: calendar.To(append(e.Participants, calendar.Participant{Email: "dan@example.org"})),
		Reminders:    calendar.To(append(e.Reminders, calendar.Reminder{MinutesBefore: 5})),
	})
	if len(removed) > 0 || !strings.Contains(strings.Join(added, ""), "dan@example.org") || strings.Contains(strings.Join(added, ""), "bob") {
		t.Errorf("added %q, removed %q, want one participant and one reminder more", added, removed)
	}
	for name, c := range map[string]calendar.EventChange{
		"participant": {Participants: calendar.To([]calendar.Participant{{Email: "urn:uuid:room-2"}})},
		"reminder":    {Reminders: calendar.To([]calendar.Reminder{{Type: "notification", MinutesBefore: -11}})},
	} {
		if _, err := b.UpdateEvent(t.Context(), "personal", "a", c, calendar.Edit{}); !errors.Is(err, calendar.ErrInvalid) {
			t.Errorf("a new %s of that kind: UpdateEvent = %v, want ErrInvalid", name, err)
		}
	}
	// Who is taken out goes with all his lines.
	b.update(t, "a", calendar.EventChange{Participants: calendar.To(e.Participants[:1])}, calendar.Edit{})
	if got := b.server.data("personal", "a.ics"); strings.Contains(got, "bob") {
		t.Errorf("bob is still there:\n%s", got)
	}
}
