package ical

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOverride(t *testing.T) {
	master := "BEGIN:VEVENT\nUID:1\nX-KEEP;A=b:c\nDTSTART;TZID=Europe/Vienna:20260302T100000\nDTEND;TZID=America/New_York:20260302T050000\n" +
		"RRULE:FREQ=WEEKLY;COUNT=6\nEXDATE;TZID=Europe/Vienna:20260309T100000\nBEGIN:VALARM\nTRIGGER:-PT5M\nEND:VALARM\nEND:VEVENT\n"
	other := "BEGIN:VEVENT\nUID:2\nDTSTART:20260101T000000Z\nEND:VEVENT\n"
	const head, tail = "BEGIN:VCALENDAR\n", "END:VCALENDAR\n"
	cal := parse(t, head+master+other+tail)
	id, _ := ParseTime("20260316T090000Z", "")
	comp, err := cal.Override("1", id, nil)
	if err != nil {
		t.Fatal(err)
	}
	// In March, New York is five hours behind for two weeks, and no longer six.
	override := "BEGIN:VEVENT\nUID:1\nX-KEEP;A=b:c\nDTSTART;TZID=Europe/Vienna:20260316T100000\nDTEND;TZID=America/New_York:20260316T060000\n" +
		"RECURRENCE-ID;TZID=Europe/Vienna:20260316T100000\nBEGIN:VALARM\nTRIGGER:-PT5M\nEND:VALARM\nEND:VEVENT\n"
	if diff := cmp.Diff(head+master+override+other+tail, string(cal.Bytes())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	comp.SetText("SUMMARY", "changed")
	if again, err := cal.Override("", id, nil); again != comp || err != nil {
		t.Errorf("Override again = %p, %v, want %p", again, err, comp)
	}
	for _, s := range []string{"20260309T090000Z", "20260317T090000Z", "20260101T000000Z"} {
		id, _ := ParseTime(s, "")
		if c, err := cal.Override("", id, nil); !errors.Is(err, ErrNoOccurrence) {
			t.Errorf("Override(%s) = %v, %v, want ErrNoOccurrence", s, c, err)
		}
	}
}

// An override changes nothing by itself: the same instances, before and after.
func TestOverrideKeepsInstances(t *testing.T) {
	for name, ics := range map[string]string{
		"date":         object("DTSTART;VALUE=DATE:20260302\nDTEND;VALUE=DATE:20260304\nRRULE:FREQ=WEEKLY"),
		"date bare":    object("DTSTART;VALUE=DATE:20260302\nRRULE:FREQ=WEEKLY"),
		"duration":     object("DTSTART;TZID=Europe/Vienna:20260302T100000\nDURATION:P1DT1H\nRRULE:FREQ=WEEKLY"),
		"floating":     object("DTSTART:20260302T100000\nDTEND:20260302T110000\nRRULE:FREQ=WEEKLY"),
		"end in UTC":   object("DTSTART;TZID=Europe/Vienna:20260302T100000\nDTEND:20260302T110000Z\nRRULE:FREQ=WEEKLY"),
		"period":       object("DTSTART:20260302T100000Z\nDURATION:PT1H\nRDATE;VALUE=PERIOD:20260309T100000Z/PT3H,20260330T100000Z/PT5H"),
		"range":        object("DTSTART:20260302T100000Z\nDTEND:20260302T110000Z\nRRULE:FREQ=WEEKLY", "RECURRENCE-ID;RANGE=THISANDFUTURE:20260309T100000Z\nDTSTART:20260310T120000Z\nDTEND:20260310T150000Z"),
		"range, dates": object("DTSTART:20260302T100000Z\nRRULE:FREQ=WEEKLY", "RECURRENCE-ID;RANGE=THISANDFUTURE:20260309T100000Z\nDTSTART;VALUE=DATE:20260310\nDTEND;VALUE=DATE:20260312"),
		"to-do":        strings.ReplaceAll(object("DTSTART:20260302T100000Z\nDUE:20260303T100000Z\nRRULE:FREQ=WEEKLY"), "VEVENT", "VTODO"),
		"to-do, due":   strings.ReplaceAll(object("DUE:20260303T100000Z\nRRULE:FREQ=WEEKLY"), "VEVENT", "VTODO"),
	} {
		times := func(c *Calendar) (out []string) {
			for _, in := range Expand(c, at(t, "20260301T000000Z"), at(t, "20260501T000000Z"), nil, nil).Instances {
				out = append(out, in.Start.UTC().String()+" "+in.End.UTC().String()+" "+in.RecurrenceID.String())
			}
			return out
		}
		cal := parse(t, ics)
		before := times(cal)
		for _, in := range Expand(cal, at(t, "20260325T000000Z"), at(t, "20260415T000000Z"), nil, nil).Instances {
			c, err := cal.Override("1", in.RecurrenceID, nil)
			if err != nil {
				t.Errorf("%s: Override(%v): %v", name, in.RecurrenceID, err)
			} else if c.Property("RRULE") != nil || c.Property("RECURRENCE-ID") == nil || c.Property("RDATE") != nil || c.Property("DTEND") != nil && c.Property("DURATION") != nil {
				t.Errorf("%s: made %s", name, c.Bytes())
			}
		}
		again := parse(t, string(cal.Bytes()))
		if diff := cmp.Diff(before, times(again)); diff != "" {
			t.Errorf("%s (-before +after):\n%s\n%s", name, diff, cal.Bytes())
		}
	}
}

func TestExclude(t *testing.T) {
	rule := "DTSTART;TZID=Europe/Vienna:20260302T100000\nRRULE:FREQ=WEEKLY;COUNT=6"
	moved := "RECURRENCE-ID;TZID=Europe/Vienna:20260309T100000\nDTSTART;TZID=Europe/Vienna:20260310T100000"
	cal := parse(t, object(rule, moved))
	for _, s := range []string{"20260309T090000Z", "20260323T090000Z"} {
		id, _ := ParseTime(s, "")
		if err := cal.Exclude("1", id, nil); err != nil {
			t.Errorf("Exclude(%s): %v", s, err)
		}
	}
	want := object(rule + "\nEXDATE;TZID=Europe/Vienna:20260309T100000\nEXDATE;TZID=Europe/Vienna:20260323T100000")
	if diff := cmp.Diff(want, string(cal.Bytes())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	id, _ := ParseTime("20260323T090000Z", "")
	if err := cal.Exclude("1", id, nil); !errors.Is(err, ErrNoOccurrence) {
		t.Errorf("Exclude twice: %v, want ErrNoOccurrence", err)
	}

	cal = parse(t, object("DTSTART;VALUE=DATE:20260302\nRRULE:FREQ=DAILY;COUNT=2"))
	if err := cal.Exclude("", DateOf(2026, time.March, 3), nil); err != nil || cal.Components("VEVENT")[0].Property("EXDATE").String() != "EXDATE;VALUE=DATE:20260303" {
		t.Errorf("a date: %v\n%s", err, cal.Bytes())
	}
	cal = parse(t, object(moved))
	id, _ = ParseTime("20260309T090000Z", "")
	if err := cal.Exclude("", id, nil); err != nil || len(cal.Components("VEVENT")) != 0 {
		t.Errorf("an orphan: %v\n%s", err, cal.Bytes())
	}
	cal = parse(t, object(rule, strings.Replace(moved, "RECURRENCE-ID", "RECURRENCE-ID;RANGE=THISANDFUTURE", 1)))
	if err := cal.Exclude("", id, nil); err != nil {
		t.Error(err)
	}
	got := show(Expand(cal, at(t, "20260301T000000Z"), at(t, "20260320T000000Z"), nil, nil).Instances)
	if want := []string{"2026-03-02 10:00 0s id 20260302T100000", "2026-03-17 10:00 0s id 20260316T100000 override"}; !cmp.Equal(got, want) {
		t.Errorf("the first of a range: %q, want %q", got, want)
	}
}
