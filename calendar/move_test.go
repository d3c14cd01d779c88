package calendar_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/calendar"
)

// What was said about an occurrence goes where the move of its series takes it, however
// many days that is: nothing that was deleted comes back, and nothing is there twice.
func TestExceptionsFollowTheirOccurrences(t *testing.T) {
	rule := func(r calendar.Recurrence) calendar.Opt[*calendar.Recurrence] { return calendar.To(&r) }
	for _, tt := range []struct {
		name, start, rule string
		gone, changed     string // of the occurrences: a date each
		change            calendar.EventChange
		want              []string
	}{
		{"to the next month", "20260128", "FREQ=MONTHLY;COUNT=5", "20260228", "20260428",
			calendar.EventChange{Start: calendar.To("2026-02-05")},
			[]string{"2026-02-05 m", "2026-04-05 m", "2026-05-05 changed", "2026-06-05 m"}},
		{"to another weekday of the month", "20260113", "FREQ=MONTHLY;BYDAY=2TU;COUNT=5", "20260210", "20260414",
			calendar.EventChange{Start: calendar.To("2026-01-14")}, // April begins with a Wednesday
			[]string{"2026-01-14 m", "2026-03-11 m", "2026-04-08 changed", "2026-05-13 m"}},
		{"over the end of a week", "20260105", "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,WE;COUNT=6", "20260107", "20260121",
			calendar.EventChange{Start: calendar.To("2026-01-11")},
			[]string{"2026-01-11 m", "2026-01-25 m", "2026-02-03 changed", "2026-02-08 m", "2026-02-17 m"}},
		{"working days", "20260105", "FREQ=DAILY;BYDAY=MO,TU,WE,TH,FR;COUNT=6", "20260109", "20260107",
			calendar.EventChange{Start: calendar.To("2026-01-06")},
			[]string{"2026-01-06 m", "2026-01-07 m", "2026-01-08 changed", "2026-01-09 m", "2026-01-13 m"}},
		{"every year", "20261227", "FREQ=YEARLY;UNTIL=20291227", "20271227", "20281227",
			calendar.EventChange{Start: calendar.To("2027-01-03")},
			[]string{"2027-01-03 m", "2029-01-03 changed", "2030-01-03 m"}},
		{"a month that lacks the day", "20260128", "FREQ=MONTHLY;COUNT=4", "20260228", "20260328",
			calendar.EventChange{Start: calendar.To("2026-01-31")},
			[]string{"2026-01-31 m", "2026-03-31 changed", "2026-05-31 m", "2026-07-31 m"}},
		{"the rule is sent back", "20260128", "FREQ=MONTHLY;COUNT=5", "20260228", "20260428",
			calendar.EventChange{Start: calendar.To("2026-02-05"), Recurrence: rule(calendar.Recurrence{Frequency: "monthly", Count: 5, ExDates: []string{"2026-02-28"}})},
			[]string{"2026-02-05 m", "2026-04-05 m", "2026-05-05 changed", "2026-06-05 m"}},
		{"the end is sent back", "20260105", "FREQ=WEEKLY;UNTIL=20260126", "20260112", "20260119",
			calendar.EventChange{Start: calendar.To("2026-01-06"), Recurrence: rule(calendar.Recurrence{Frequency: "weekly", Until: "2026-01-26"})},
			[]string{"2026-01-06 m", "2026-01-20 changed", "2026-01-27 m"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newTestbed(t, nil)
			data := event("s", ";VALUE=DATE:"+tt.start, "SUMMARY:m", "RRULE:"+tt.rule, "EXDATE;VALUE=DATE:"+tt.gone)
			override := strings.Join([]string{"BEGIN:VEVENT", "UID:s", "DTSTAMP:20260101T000000Z", "RECURRENCE-ID;VALUE=DATE:" + tt.changed,
				"DTSTART;VALUE=DATE:" + tt.changed, "SUMMARY:changed", "END:VEVENT", "END:VCALENDAR"}, "\r\n")
			b.server.put("personal", "s.ics", strings.Replace(data, "END:VCALENDAR", override, 1))
			b.update(t, "s", tt.change, calendar.Edit{})
			page := b.list(t, calendar.Query{Start: "2026-01-01", End: "2031-01-01"})
			var got []string
			for _, e := range page.Events {
				got = append(got, e.Start.String()+" "+e.Title)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("events (-want +got):\n%s\n%s", diff, b.server.data("personal", "s.ics"))
			}
		})
	}
}

// A change of one occurrence is not thrown away where the series has none in its place.
func TestMoveThatWouldLoseAChange(t *testing.T) {
	b := newTestbed(t, nil)
	data := event("s", ";VALUE=DATE:20260128", "SUMMARY:m", "RRULE:FREQ=MONTHLY;COUNT=4")
	b.server.put("personal", "s.ics", data)
	b.update(t, "s", calendar.EventChange{Title: calendar.To("changed")}, calendar.Edit{RecurrenceID: "2026-02-28"})
	before := b.server.data("personal", "s.ics")
	_, err := b.UpdateEvent(t.Context(), "personal", "s", calendar.EventChange{Start: calendar.To("2026-01-31")}, calendar.Edit{})
	if !errors.Is(err, calendar.ErrInvalid) || !strings.Contains(err.Error(), "2026-02-28") {
		t.Errorf("UpdateEvent = %v, want one that names the occurrence", err)
	}
	if now := b.server.data("personal", "s.ics"); now != before {
		t.Errorf("the refused change was stored:\n%s", now)
	}
}
