package calendar_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/perdure/perdure/calendar"
)

// Berlin's clocks show 02:30 twice on 2026-10-25: at 00:30 and at 01:30 UTC.
func TestHourThatIsThereTwice(t *testing.T) {
	b := newTestbed(t, nil)
	for _, tt := range []struct{ start, end, wantStart, wantEnd string }{
		{"2026-10-25T02:30:00", "", "2026-10-25T00:30:00.000Z", "2026-10-25T01:30:00.000Z"},
		{"2026-10-25T00:30:00Z", "", "2026-10-25T00:30:00.000Z", "2026-10-25T01:30:00.000Z"},
		{"2026-10-25T01:30:00Z", "", "2026-10-25T01:30:00.000Z", "2026-10-25T02:30:00.000Z"},
		{"2026-10-25T02:30:00+01:00", "", "2026-10-25T01:30:00.000Z", "2026-10-25T02:30:00.000Z"},
		{"2026-10-25T01:30:00", "2026-10-25T01:45:00Z", "2026-10-24T23:30:00.000Z", "2026-10-25T01:45:00.000Z"},
	} {
		c := calendar.EventChange{Title: calendar.To("x"), Start: calendar.To(tt.start), TimeZone: calendar.To("Europe/Berlin")}
		if tt.end != "" {
			c.End = calendar.To(tt.end)
		}
		r, err := b.CreateEvent(t.Context(), "personal", c, nil)
		if err != nil {
			t.Fatalf("CreateEvent(%s): %v", tt.start, err)
		}
		if got := r.Event.Start.String() + " " + r.Event.End.String(); got != tt.wantStart+" "+tt.wantEnd {
			t.Errorf("CreateEvent(%s, %s) lasts %s, want %s %s", tt.start, tt.end, got, tt.wantStart, tt.wantEnd)
		}
		moved := b.update(t, r.Event.ID, calendar.EventChange{Start: calendar.To("2026-10-25T01:15:00Z"), TimeZone: calendar.To("Europe/Berlin")}, calendar.Edit{})
		if got := moved.Event.Start.String(); got != "2026-10-25T01:15:00.000Z" {
			t.Errorf("moved to 01:15 UTC: it begins at %s", got)
		}
	}
}

func TestSeriesBeginsInTheFirstOfTwoHours(t *testing.T) {
	b := newTestbed(t, nil)
	daily := calendar.To(&calendar.Recurrence{Frequency: "daily", Count: 3})
	c := calendar.EventChange{Title: calendar.To("x"), Start: calendar.To("2026-10-25T01:30:00Z"), TimeZone: calendar.To("Europe/Berlin"), Recurrence: daily}
	if _, err := b.CreateEvent(t.Context(), "personal", c, nil); !errors.Is(err, calendar.ErrInvalid) || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a series in the second of two hours: %v, want an error that says so", err)
	}
	c.Start = calendar.To("2026-10-25T00:30:00Z")
	if _, err := b.CreateEvent(t.Context(), "personal", c, nil); err != nil {
		t.Fatal(err)
	}
	b.wantStarts(t, "daily in the first of two hours", "2026-10-25T00:30 x", "2026-10-26T01:30 x", "2026-10-27T01:30 x")
}

func TestNothingIsCreatedThatNobodySees(t *testing.T) {
	b := newTestbed(t, nil)
	for _, tt := range []struct{ start, until, want string }{
		{"0001-01-01", "", "the year 1 is out of range; send one from 1000 to 9998"},
		{"9999-12-31T23:59:59Z", "", "the year 9999 is out of range"},
		{"tomorrow", "", `"tomorrow" is not a date`},
		{"2026-12-01T10:00:00Z", "2025-01-01", "recurrenceRule.until: 2025-01-01T23:59:59.000Z is before the start 2026-12-01T10:00:00.000Z"},
		{"2026-12-01", "2026-11-30", "recurrenceRule.until: 2026-11-30 is before the start 2026-12-01"},
	} {
		c := calendar.EventChange{Title: calendar.To("x"), Start: calendar.To(tt.start)}
		if tt.until != "" {
			c.Recurrence = calendar.To(&calendar.Recurrence{Frequency: "daily", Until: tt.until})
		}
		if _, err := b.CreateEvent(t.Context(), "personal", c, nil); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("CreateEvent(%s, until %q) = %v, want %q", tt.start, tt.until, err, tt.want)
		}
	}
}
