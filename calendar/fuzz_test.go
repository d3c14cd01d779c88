package calendar_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/calendar/ical"
)

// FuzzUpdateEvent makes any change to any object: either it is refused with a Problem
// and nothing is written, or what is written can be read and holds what was asked for.
func FuzzUpdateEvent(f *testing.F) {
	for _, change := range []string{
		`{"title":"a\r\nX-INJECTED:1\nb;c,d\\"}`, `{"start":"2026-03-11"}`, `{"start":"2026-03-10T10:00+02:00","end":"2026-03-10T11:00"}`,
		`{"recurrenceRule":{"frequency":"monthly","byDay":["-1FR"],"until":"2027-01-01"}}`, `{"isAllDay":true}`, `{"recurrenceRule":null}`,
		`{"participants":[{"email":"x@example.org","name":"\"Q\"\r\nX:1"}]}`, `{"timeZone":"Asia/Kolkata","start":"2026-03-10T10:00"}`,
	} {
		f.Add(odd, "", change)
		f.Add(weekly, "2026-03-16T08:00:00Z", change)
		f.Add(event("d", ";VALUE=DATE:20260310", "RRULE:FREQ=DAILY;COUNT=5", "DURATION:P2D"), "", change)
		f.Add("BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20260310\nEXDATE:x\nRDATE;VALUE=PERIOD:20260310T090000Z/PT1H\nEND:VEVENT\n", "", change)
	}
	f.Fuzz(func(t *testing.T, object, recurrenceID, text string) {
		var change calendar.EventChange
		if json.Unmarshal([]byte(text), &change) != nil {
			return
		}
		b := newTestbed(t, nil)
		b.server.put("personal", "a.ics", object)
		r, err := b.UpdateEvent(t.Context(), "personal", "a", change, calendar.Edit{RecurrenceID: recurrenceID})
		now := b.server.data("personal", "a.ics")
		if err != nil {
			var p *calendar.Problem
			if !errors.As(err, &p) {
				t.Errorf("UpdateEvent = %v, no Problem", err)
			}
			if now != object {
				t.Errorf("a refused change was written: %v\n%s", err, now)
			}
			return
		}
		cal, err := ical.Parse([]byte(now), nil)
		if err != nil {
			t.Fatalf("what was written can't be read: %v", err)
		}
		for _, c := range cal.Components("VEVENT") {
			if c.Property("X-INJECTED") != nil || c.Property("X") != nil {
				t.Errorf("a value became a line:\n%s", now)
			}
		}
		if change.Title.Set && r.Event.Title != change.Title.Value {
			t.Logf("title %q, asked for %q", r.Event.Title, change.Title.Value) // control characters are left out
		}
	})
}
