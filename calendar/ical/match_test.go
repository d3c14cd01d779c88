package ical

import (
	"testing"
	"time"
)

func TestMatches(t *testing.T) {
	comp := func(name, lines string) string {
		return "BEGIN:VCALENDAR\nBEGIN:" + name + "\nUID:1\n" + lines + "\nEND:" + name + "\nEND:VCALENDAR\n"
	}
	const s, e = "20260310T090000Z", "20260310T100000Z"
	for _, tc := range []struct {
		name, ics, kind, from, to string
		want                      bool
	}{
		{"event inside", comp("VEVENT", "DTSTART:"+s+"\nDTEND:"+e), "VEVENT", s, e, true},
		{"event, other kind", comp("VEVENT", "DTSTART:"+s+"\nDTEND:"+e), "VTODO", s, e, false},
		{"event, open end", comp("VEVENT", "DTSTART:"+s+"\nDTEND:"+e), "", "20260310T095959Z", "", true},
		{"event, open end after", comp("VEVENT", "DTSTART:"+s+"\nDTEND:"+e), "", e, "", false},
		{"event, open start", comp("VEVENT", "DTSTART:"+s+"\nDTEND:"+e), "", "", "20260310T090001Z", true},
		{"event, open start before", comp("VEVENT", "DTSTART:"+s+"\nDTEND:"+e), "", "", s, false},
		{"all day without DTEND, within", comp("VEVENT", "DTSTART;VALUE=DATE:20260310"), "", s, e, true},
		{"all day without DTEND, next day", comp("VEVENT", "DTSTART;VALUE=DATE:20260310"), "", "20260311T000000Z", "20260312T000000Z", false},
		{"over midnight, asked after", comp("VEVENT", "DTSTART:20260101T230000Z\nDURATION:PT2H\nRRULE:FREQ=WEEKLY"), "", "20260402T233000Z", "20260403T003000Z", true},
		{"infinite, far", comp("VEVENT", "DTSTART:20260101T230000Z\nRRULE:FREQ=WEEKLY"), "", "20990101T000000Z", "20990110T000000Z", true},
		{"infinite, open end", comp("VEVENT", "DTSTART:20260101T230000Z\nRRULE:FREQ=WEEKLY"), "", "20990101T000000Z", "", true},
		{"ended, open end", comp("VEVENT", "DTSTART:20260101T230000Z\nRRULE:FREQ=WEEKLY;COUNT=3"), "", "20260201T000000Z", "", false},
		{"event without start", comp("VEVENT", "SUMMARY:x"), "", "", "", false},

		{"todo DTSTART+DURATION, at its end", comp("VTODO", "DTSTART:"+s+"\nDURATION:PT1H"), "", e, "20260310T110000Z", true},
		{"todo DTSTART+DURATION, before", comp("VTODO", "DTSTART:"+s+"\nDURATION:PT1H"), "", "20260310T080000Z", s, false},
		{"todo DTSTART+DUE, at DUE", comp("VTODO", "DTSTART:"+s+"\nDUE:"+e), "", e, "20260310T110000Z", false},
		{"todo DTSTART+DUE, inside", comp("VTODO", "DTSTART:"+s+"\nDUE:"+e), "", "20260310T093000Z", "20260310T094000Z", true},
		{"todo DTSTART", comp("VTODO", "DTSTART:"+s), "", s, e, true},
		{"todo DTSTART, after", comp("VTODO", "DTSTART:"+s), "", "20260310T090001Z", e, false},
		{"todo DUE, window ends at it", comp("VTODO", "DUE:"+e), "", s, e, true},
		{"todo DUE, window begins at it", comp("VTODO", "DUE:"+e), "", e, "20260310T110000Z", false},
		{"todo COMPLETED", comp("VTODO", "COMPLETED:"+s), "", s, e, true},
		{"todo COMPLETED, after", comp("VTODO", "COMPLETED:"+s), "", e, "20260310T110000Z", false},
		{"todo CREATED", comp("VTODO", "CREATED:"+s), "", e, "20260310T110000Z", true},
		{"todo CREATED later", comp("VTODO", "CREATED:"+e), "", s, e, false},
		{"todo CREATED and COMPLETED around", comp("VTODO", "CREATED:20260301T000000Z\nCOMPLETED:20260401T000000Z"), "", s, e, true},
		{"todo CREATED and COMPLETED before", comp("VTODO", "CREATED:20260301T000000Z\nCOMPLETED:20260302T000000Z"), "", s, e, false},
		{"todo with nothing", comp("VTODO", "SUMMARY:x"), "", s, e, true},
		{"todo that recurs", comp("VTODO", "DTSTART:"+s+"\nDUE:"+e+"\nRRULE:FREQ=DAILY"), "VTODO", "20260410T093000Z", "20260410T094000Z", true},

		{"journal date", comp("VJOURNAL", "DTSTART;VALUE=DATE:20260310"), "", s, e, true},
		{"journal time", comp("VJOURNAL", "DTSTART:"+s), "", s, e, true},
		{"journal without", comp("VJOURNAL", "SUMMARY:x"), "", s, e, false},

		{"freebusy", comp("VFREEBUSY", "DTSTART:"+s+"\nDTEND:"+e), "VFREEBUSY", e, "20260310T110000Z", true},
		{"freebusy, after", comp("VFREEBUSY", "DTSTART:"+s+"\nDTEND:"+e), "VFREEBUSY", "20260310T100001Z", "20260310T110000Z", false},
		{"freebusy periods", comp("VFREEBUSY", "FREEBUSY:20260101T000000Z/PT1H,"+s+"/"+e), "VFREEBUSY", s, e, true},
		{"freebusy periods, between", comp("VFREEBUSY", "FREEBUSY:20260101T000000Z/PT1H,"+s+"/"+e), "VFREEBUSY", "20260201T000000Z", s, false},
		{"freebusy with nothing", comp("VFREEBUSY", "SUMMARY:x"), "VFREEBUSY", s, e, false},
	} {
		bound := func(v string) time.Time {
			if v == "" {
				return time.Time{}
			}
			return at(t, v)
		}
		got, err := NewObject(parse(t, tc.ics), nil).Matches(tc.kind, bound(tc.from), bound(tc.to))
		if err != nil || got != tc.want {
			t.Errorf("%s: Matches = %v, %v, want %v", tc.name, got, err, tc.want)
		}
	}
	cal := parse(t, object("DTSTART:19700101T000000Z\nRRULE:FREQ=SECONDLY;BYDAY=MO;COUNT=2000000000"))
	if got, err := NewObject(cal, nil).Matches("", at(t, s), at(t, e)); got || err == nil {
		t.Errorf("too many steps: Matches = %v, %v, want an error", got, err)
	}
}

func TestMatchesAlarm(t *testing.T) {
	ev := func(alarm string) string {
		return object("DTSTART:20260310T090000Z\nDTEND:20260310T100000Z\nRRULE:FREQ=WEEKLY\nBEGIN:VALARM\n" + alarm + "\nEND:VALARM")
	}
	for _, tc := range []struct {
		alarm, from, to string
		want            bool
	}{
		{"TRIGGER:-PT15M", "20260317T084500Z", "20260317T084501Z", true},
		{"TRIGGER:-PT15M", "20260317T084501Z", "20260317T120000Z", false},
		{"TRIGGER;RELATED=END:PT0S", "20260317T100000Z", "20260317T110000Z", true},
		{"TRIGGER:-P10D", "20260307T085900Z", "20260307T090100Z", true},
		{"TRIGGER;VALUE=DATE-TIME:20260101T000000Z", "20260101T000000Z", "20260102T000000Z", true},
		{"TRIGGER;VALUE=DATE-TIME:20260101T000000Z", "20260102T000000Z", "20260103T000000Z", false},
		{"TRIGGER:PT0S\nREPEAT:4\nDURATION:PT5M", "20260317T091900Z", "20260317T092100Z", true},
		{"TRIGGER:PT0S\nREPEAT:4\nDURATION:PT5M", "20260317T092100Z", "20260317T093000Z", false},
		{"ACTION:DISPLAY", "20260317T084500Z", "20260317T120000Z", false},
	} {
		got, err := NewObject(parse(t, ev(tc.alarm)), nil).MatchesAlarm("VEVENT", at(t, tc.from), at(t, tc.to))
		if err != nil || got != tc.want {
			t.Errorf("%q from %s to %s = %v, %v, want %v", tc.alarm, tc.from, tc.to, got, err, tc.want)
		}
	}
}
