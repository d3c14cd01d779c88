package ical

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestObjectsAgainstPython compares 250 random events with RDATE, EXDATE and
// overrides with what python3-recurring-ical-events sees in a window;
// testdata/objects.py wrote the file.
func TestObjectsAgainstPython(t *testing.T) {
	data, err := os.ReadFile("testdata/objects.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		ICS, From, To string
		Want          []string
	}
	if err := json.Unmarshal(data, &vectors); err != nil {
		t.Fatal(err)
	}
	instances := 0
	for i, v := range vectors {
		res := Expand(parse(t, v.ICS), at(t, v.From), at(t, v.To), time.UTC, nil)
		got := []string{}
		for _, in := range res.Instances {
			f := "20060102T150405Z"
			if in.AllDay {
				f = "20060102"
			}
			got = append(got, in.Start.UTC().Format(f)+" "+in.End.UTC().Format(f))
		}
		slices.Sort(got)
		if diff := cmp.Diff(v.Want, got); diff != "" {
			t.Errorf("vector %d, %s to %s (-want +got):\n%s\n%s", i, v.From, v.To, diff, v.ICS)
		}
		instances += len(got)
	}
	if len(vectors) < 250 || instances < 1000 {
		t.Errorf("%d vectors with %d instances, want more", len(vectors), instances)
	}
}

// at reads "20260310T090000Z".
func at(t testing.TB, s string) time.Time {
	t.Helper()
	u, err := time.Parse("20060102T150405Z", s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// object is a calendar of VEVENTs with UID 1, each given by its other lines.
func object(events ...string) string {
	var b strings.Builder
	b.WriteString("BEGIN:VCALENDAR\nVERSION:2.0\n")
	for _, e := range events {
		b.WriteString("BEGIN:VEVENT\nUID:1\n" + e + "\nEND:VEVENT\n")
	}
	return b.String() + "END:VCALENDAR\n"
}

// show writes instances in a short form: start, length, recurrence id, component.
func show(ins []Instance) []string {
	out := []string{}
	for _, in := range ins {
		s := in.Start.Format("2006-01-02 15:04")
		if in.AllDay {
			s = strings.TrimSuffix(s, " 00:00")
		}
		s += " " + in.End.Sub(in.Start).String()
		if !in.RecurrenceID.IsZero() {
			s += " id " + in.RecurrenceID.String()
		}
		if in.Override {
			s += " override"
		}
		if x := in.Component.Text("SUMMARY"); x != "" {
			s += " " + x
		}
		out = append(out, s)
	}
	return out
}

const weekly = "DTSTART;TZID=Europe/Vienna:20260302T100000\nDTEND;TZID=Europe/Vienna:20260302T110000\nRRULE:FREQ=WEEKLY;COUNT=6"

func TestExpand(t *testing.T) {
	vienna := ianaZone("Europe/Vienna")
	for _, tc := range []struct {
		name     string
		ics      string
		from, to string
		want     []string
	}{
		{"single", object("DTSTART:20260310T090000Z\nDTEND:20260310T100000Z"), "20260310T093000Z", "20260310T094000Z",
			[]string{"2026-03-10 09:00 1h0m0s"}},
		{"ends where the window begins", object("DTSTART:20260310T090000Z\nDTEND:20260310T100000Z"), "20260310T100000Z", "20260310T110000Z",
			[]string{}},
		{"no end is no time", object("DTSTART:20260310T090000Z"), "20260310T090000Z", "20260310T090001Z",
			[]string{"2026-03-10 09:00 0s"}},
		{"no end, window after", object("DTSTART:20260310T090000Z"), "20260310T090001Z", "20260310T100000Z", []string{}},
		{"a date lasts a day", object("DTSTART;VALUE=DATE:20260329"), "20260329T210000Z", "20260330T000000Z",
			[]string{"2026-03-29 23h0m0s"}},
		{"zero days last one", object("DTSTART;VALUE=DATE:20260310\nDTEND;VALUE=DATE:20260310"), "20260301T000000Z", "20260401T000000Z",
			[]string{"2026-03-10 24h0m0s"}},
		{"end before start", object("DTSTART:20260312T100000Z\nDTEND:20260312T090000Z"), "20260301T000000Z", "20260401T000000Z",
			[]string{"2026-03-12 10:00 0s"}},
		{"DTEND goes before DURATION", object("DTSTART:20260312T100000Z\nDTEND:20260312T110000Z\nDURATION:PT9H"), "20260301T000000Z", "20260401T000000Z",
			[]string{"2026-03-12 10:00 1h0m0s"}},
		{"DTEND gives an exact length", object("DTSTART;TZID=Europe/Vienna:20260327T220000\nDTEND;TZID=Europe/Vienna:20260328T060000\nRRULE:FREQ=DAILY;COUNT=2"),
			"20260301T000000Z", "20260401T000000Z",
			[]string{"2026-03-27 22:00 8h0m0s id 20260327T220000", "2026-03-28 22:00 8h0m0s id 20260328T220000"}},
		{"DURATION a nominal one", object("DTSTART;TZID=Europe/Vienna:20260327T120000\nDURATION:P1D\nRRULE:FREQ=DAILY;COUNT=2"),
			"20260301T000000Z", "20260401T000000Z",
			[]string{"2026-03-27 12:00 24h0m0s id 20260327T120000", "2026-03-28 12:00 23h0m0s id 20260328T120000"}},
		{"wall clock over the change", object("DTSTART;TZID=Europe/Vienna:20260328T023000\nRRULE:FREQ=DAILY;COUNT=3"), "20260301T000000Z", "20260401T000000Z",
			[]string{"2026-03-28 02:30 0s id 20260328T023000", "2026-03-29 03:30 0s id 20260329T023000", "2026-03-30 02:30 0s id 20260330T023000"}},
		{"a time that comes twice is the first", object("DTSTART;TZID=Europe/Vienna:20261025T023000\nDURATION:PT1H"), "20261025T003000Z", "20261025T003001Z",
			[]string{"2026-10-25 02:30 1h0m0s"}},
		{"hours that meet in a gap are one", object("DTSTART;TZID=Europe/Vienna:20260329T010000\nRRULE:FREQ=HOURLY;COUNT=4"), "20260301T000000Z", "20260401T000000Z",
			[]string{"2026-03-29 01:00 0s id 20260329T010000", "2026-03-29 03:00 0s id 20260329T020000", "2026-03-29 04:00 0s id 20260329T040000"}},
		{"UNTIL is a date: that day too", object("DTSTART:20260310T090000Z\nRRULE:FREQ=DAILY;UNTIL=20260311"), "20260301T000000Z", "20260401T000000Z",
			[]string{"2026-03-10 09:00 0s id 20260310T090000Z", "2026-03-11 09:00 0s id 20260311T090000Z"}},
		{"UNTIL in UTC, start in a zone", object("DTSTART;TZID=Europe/Vienna:20260310T090000\nRRULE:FREQ=DAILY;UNTIL=20260311T080000Z"), "20260301T000000Z", "20260401T000000Z",
			[]string{"2026-03-10 09:00 0s id 20260310T090000", "2026-03-11 09:00 0s id 20260311T090000"}},
		{"UNTIL a second short", object("DTSTART;TZID=Europe/Vienna:20260310T090000\nRRULE:FREQ=DAILY;UNTIL=20260311T075959Z"), "20260301T000000Z", "20260401T000000Z",
			[]string{"2026-03-10 09:00 0s id 20260310T090000"}},
		{"EXDATE list", object("DTSTART:20260310T090000Z\nRRULE:FREQ=DAILY;COUNT=4\nEXDATE:20260310T090000Z,20260312T090000Z"), "20260301T000000Z", "20260401T000000Z",
			[]string{"2026-03-11 09:00 0s id 20260311T090000Z", "2026-03-13 09:00 0s id 20260313T090000Z"}},
		{"EXDATE in another zone", object("DTSTART:20260310T090000Z\nRRULE:FREQ=DAILY;COUNT=2\nEXDATE;TZID=Europe/Vienna:20260311T100000"), "20260301T000000Z", "20260401T000000Z",
			[]string{"2026-03-10 09:00 0s id 20260310T090000Z"}},
		{"EXDATE a date, start a time", object("DTSTART;TZID=Europe/Vienna:20260310T003000\nRRULE:FREQ=DAILY;COUNT=2\nEXDATE;VALUE=DATE:20260311"), "20260301T000000Z", "20260401T000000Z",
			[]string{"2026-03-10 00:30 0s id 20260310T003000"}},
		{"EXDATE a date, all its times", object("DTSTART:20260310T090000Z\nRRULE:FREQ=DAILY;BYHOUR=9,15;COUNT=5\nEXDATE;VALUE=DATE:20260311"), "20260301T000000Z", "20260401T000000Z",
			[]string{"2026-03-10 09:00 0s id 20260310T090000Z", "2026-03-10 15:00 0s id 20260310T150000Z", "2026-03-12 09:00 0s id 20260312T090000Z"}},
		{"ids and EXDATE without the TZID", object("DTSTART;TZID=Asia/Tokyo:20260302T100000\nRRULE:FREQ=WEEKLY\nEXDATE:20260316T100000", "RECURRENCE-ID:20260309T100000\nDTSTART:20260310T120000Z\nSUMMARY:x"), "20260308T000000Z", "20260324T000000Z",
			[]string{"2026-03-10 12:00 0s id 20260309T100000 override x", "2026-03-23 10:00 0s id 20260323T100000"}},
		{"a period that ends before it begins", object("DTSTART:20260310T090000Z\nRDATE;VALUE=PERIOD:20260314T100000Z/-PT2H,20260315T100000Z/20260315T090000Z"), "20260311T000000Z", "20260401T000000Z",
			[]string{"2026-03-14 10:00 0s id 20260314T100000Z", "2026-03-15 10:00 0s id 20260315T100000Z"}},
		{"RDATE twice, a period says more", object("DTSTART:20260310T090000Z\nRDATE:20260314T100000Z\nRDATE;VALUE=PERIOD:20260314T100000Z/PT2H"), "20260311T000000Z", "20260401T000000Z",
			[]string{"2026-03-14 10:00 2h0m0s id 20260314T100000Z"}},
		{"THISANDFUTURE moved back into the window", object("DTSTART:20260302T100000Z\nRRULE:FREQ=WEEKLY", "RECURRENCE-ID;RANGE=THISANDFUTURE:20260406T100000Z\nDTSTART:20260303T110000Z"), "20260317T000000Z", "20260320T000000Z",
			[]string{"2026-03-17 11:00 0s id 20260420T100000Z override"}},
		{"THISANDFUTURE to whole days, two a day", object("DTSTART:20260302T100000Z\nRRULE:FREQ=DAILY;BYHOUR=10,15;COUNT=4", "RECURRENCE-ID;RANGE=THISANDFUTURE:20260303T100000Z\nDTSTART;VALUE=DATE:20260305"), "20260303T000000Z", "20260401T000000Z",
			[]string{"2026-03-05 24h0m0s id 20260303T100000Z override", "2026-03-05 24h0m0s id 20260303T150000Z override"}},
		{"EXDATE a time, start a date", object("DTSTART;VALUE=DATE:20260310\nRRULE:FREQ=DAILY;COUNT=3\nEXDATE:20260310T230000Z\nEXDATE:20260312T000000Z"), "20260301T000000Z", "20260401T000000Z",
			[]string{"2026-03-10 24h0m0s id 20260310"}},
		{"EXRULE", object("DTSTART:20260310T090000Z\nRRULE:FREQ=DAILY;COUNT=4\nEXRULE:FREQ=DAILY;INTERVAL=2"), "20260301T000000Z", "20260401T000000Z",
			[]string{"2026-03-11 09:00 0s id 20260311T090000Z", "2026-03-13 09:00 0s id 20260313T090000Z"}},
		{"RDATE kinds", object("DTSTART:20260310T090000Z\nDTEND:20260310T093000Z\nRDATE:20260312T090000Z,20260310T090000Z\nRDATE;VALUE=PERIOD:20260314T100000Z/PT2H,20260315T100000Z/20260315T110000Z\nRDATE;VALUE=DATE:20260320"),
			"20260301T000000Z", "20260401T000000Z",
			[]string{"2026-03-10 09:00 30m0s id 20260310T090000Z", "2026-03-12 09:00 30m0s id 20260312T090000Z", "2026-03-14 10:00 2h0m0s id 20260314T100000Z",
				"2026-03-15 10:00 1h0m0s id 20260315T100000Z", "2026-03-20 09:00 30m0s id 20260320T090000Z"}},
		{"two rules", object("DTSTART:20260310T090000Z\nRRULE:FREQ=DAILY;COUNT=2\nRRULE:FREQ=DAILY;INTERVAL=2;COUNT=2"), "20260301T000000Z", "20260401T000000Z",
			[]string{"2026-03-10 09:00 0s id 20260310T090000Z", "2026-03-11 09:00 0s id 20260311T090000Z", "2026-03-12 09:00 0s id 20260312T090000Z"}},
		{"override moved out of the window", object(weekly, "RECURRENCE-ID;TZID=Europe/Vienna:20260309T100000\nDTSTART:20260501T100000Z\nSUMMARY:x"), "20260308T000000Z", "20260317T000000Z",
			[]string{"2026-03-16 10:00 1h0m0s id 20260316T100000"}},
		{"override moved into the window, id in UTC", object(weekly, "RECURRENCE-ID:20260309T090000Z\nDTSTART:20260501T100000Z\nSUMMARY:x"), "20260501T000000Z", "20260502T000000Z",
			[]string{"2026-05-01 10:00 0s id 20260309T090000Z override x"}},
		{"override id a date", object(weekly, "RECURRENCE-ID;VALUE=DATE:20260309\nDTSTART:20260309T120000Z\nSUMMARY:x"), "20260308T000000Z", "20260310T000000Z",
			[]string{"2026-03-09 12:00 0s id 20260309 override x"}},
		{"override that EXDATE names too", object(weekly+"\nEXDATE;TZID=Europe/Vienna:20260309T100000", "RECURRENCE-ID;TZID=Europe/Vienna:20260309T100000\nDTSTART:20260310T100000Z\nSUMMARY:x"),
			"20260308T000000Z", "20260316T000000Z", []string{"2026-03-10 10:00 0s id 20260309T100000 override x"}},
		{"the higher SEQUENCE counts", object(weekly, "SEQUENCE:2\nRECURRENCE-ID;TZID=Europe/Vienna:20260309T100000\nDTSTART:20260310T100000Z\nSUMMARY:two", "SEQUENCE:1\nRECURRENCE-ID;TZID=Europe/Vienna:20260309T100000\nDTSTART:20260310T100000Z\nSUMMARY:one"),
			"20260308T000000Z", "20260316T000000Z", []string{"2026-03-10 10:00 0s id 20260309T100000 override two"}},
		{"THISANDFUTURE", object(weekly, "RECURRENCE-ID;TZID=Europe/Vienna;RANGE=THISANDFUTURE:20260323T100000\nDTSTART;TZID=Europe/Vienna:20260324T113000\nDTEND;TZID=Europe/Vienna:20260324T120000\nSUMMARY:later",
			"RECURRENCE-ID;TZID=Europe/Vienna:20260330T100000\nDTSTART;TZID=Europe/Vienna:20260401T080000\nSUMMARY:once"), "20260315T000000Z", "20260501T000000Z",
			[]string{"2026-03-16 10:00 1h0m0s id 20260316T100000", "2026-03-24 11:30 30m0s id 20260323T100000 override later",
				"2026-04-01 08:00 0s id 20260330T100000 override once", "2026-04-07 11:30 30m0s id 20260406T100000 override later"}},
		{"THISANDFUTURE moved far into the window", object("DTSTART:20260302T100000Z\nRRULE:FREQ=WEEKLY", "RECURRENCE-ID;RANGE=THISANDFUTURE:20260309T100000Z\nDTSTART:20260409T100000Z"), "20260420T000000Z", "20260430T000000Z",
			[]string{"2026-04-23 10:00 0s id 20260323T100000Z override"}},
		{"THISANDFUTURE to whole days", object("DTSTART:20260302T100000Z\nRRULE:FREQ=WEEKLY;COUNT=3", "RECURRENCE-ID;RANGE=THISANDFUTURE:20260309T100000Z\nDTSTART;VALUE=DATE:20260310"), "20260301T000000Z", "20260430T000000Z",
			[]string{"2026-03-02 10:00 0s id 20260302T100000Z", "2026-03-10 24h0m0s id 20260309T100000Z override", "2026-03-17 24h0m0s id 20260316T100000Z override"}},
		{"UNTIL before DTSTART", object("DTSTART:20260310T090000Z\nRRULE:FREQ=DAILY;UNTIL=20260301T000000Z"), "20260301T000000Z", "20260401T000000Z",
			[]string{"2026-03-10 09:00 0s id 20260310T090000Z"}},
		{"without UID, nothing belongs together", strings.ReplaceAll(object("DTSTART:20260310T090000Z\nRRULE:FREQ=DAILY;COUNT=1", "RECURRENCE-ID:20260310T090000Z\nDTSTART:20260311T090000Z"), "UID:1\n", ""), "20260301T000000Z", "20260401T000000Z",
			[]string{"2026-03-10 09:00 0s id 20260310T090000Z", "2026-03-11 09:00 0s id 20260310T090000Z override"}},
		{"orphan override", object("RECURRENCE-ID:20260317T090000Z\nDTSTART:20260317T100000Z\nSUMMARY:x"), "20260301T000000Z", "20260401T000000Z",
			[]string{"2026-03-17 10:00 0s id 20260317T090000Z override x"}},
		{"two masters", object("DTSTART:20260312T090000Z", "DTSTART:20260313T090000Z"), "20260301T000000Z", "20260401T000000Z",
			[]string{"2026-03-12 09:00 0s", "2026-03-13 09:00 0s"}},
		{"floating, in the default zone", object("DTSTART:20260716T080000\nDURATION:PT30M"), "20260716T060000Z", "20260716T060100Z",
			[]string{"2026-07-16 08:00 30m0s"}},
		{"a rule that is none", object("DTSTART:20260312T090000Z\nRRULE:FREQ=SOMETIMES"), "20260301T000000Z", "20260401T000000Z",
			[]string{"2026-03-12 09:00 0s"}},
		{"leap days", object("DTSTART;VALUE=DATE:20240229\nRRULE:FREQ=YEARLY"), "20250101T000000Z", "20330101T000000Z",
			[]string{"2028-02-29 24h0m0s id 20280229", "2032-02-29 24h0m0s id 20320229"}},
		{"a long instance reaches into the window", object("DTSTART:20250101T000000Z\nDURATION:P10D\nRRULE:FREQ=YEARLY"), "20260109T000000Z", "20260110T000000Z",
			[]string{"2026-01-01 00:00 240h0m0s id 20260101T000000Z"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res := Expand(parse(t, tc.ics), at(t, tc.from), at(t, tc.to), vienna, nil)
			if diff := cmp.Diff(tc.want, show(res.Instances)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A bound within a second is after that second's instances.
func TestExpandBoundsWithFractions(t *testing.T) {
	cal := parse(t, object("DTSTART:20260310T090000Z"))
	late := at(t, "20260310T090000Z").Add(time.Millisecond)
	if res := Expand(cal, late, late.Add(time.Hour), nil, nil); len(res.Instances) != 0 {
		t.Errorf("from %s: %v", late, show(res.Instances))
	}
	if res := Expand(cal, late.Add(-time.Hour), late, nil, nil); len(res.Instances) != 1 {
		t.Errorf("to %s: %v", late, show(res.Instances))
	}
}

// Rules that never end, or began long ago, or never come, answer at once: within the steps
// that are allowed, where counting from the start would take a thousand million.
func TestExpandIsBounded(t *testing.T) {
	from, to := at(t, "20261123T000000Z"), at(t, "20261124T000000Z")
	for _, tc := range []struct {
		rule string
		n    int
		cut  string
	}{
		{"FREQ=SECONDLY", 10_000, "number of instances"},
		{"FREQ=SECONDLY;INTERVAL=7;COUNT=2000000000", 10_000, "number of instances"},
		{"FREQ=MINUTELY", 1440, ""},
		{"FREQ=MINUTELY;COUNT=2000000000", 1440, ""},
		{"FREQ=SECONDLY;BYHOUR=3;BYMINUTE=0;BYSECOND=0,30", 2, ""},
		{"FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30", 0, ""},
		{"FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", 0, ""},
		{"FREQ=SECONDLY;BYSECOND=60", 0, ""},
		{"FREQ=SECONDLY;BYDAY=MO;COUNT=2000000000", 0, "number of recurrence steps"},
		{"FREQ=YEARLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYHOUR=0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23;" +
			"BYMINUTE=0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33,34,35,36,37,38,39,40,41,42,43,44,45,46,47,48,49,50,51,52,53,54,55,56,57,58,59;BYSECOND=0,30", 2880, ""},
	} {
		cal := parse(t, object("DTSTART:19700101T000000Z\nRRULE:"+tc.rule))
		res := Expand(cal, from, to, nil, nil)
		cut := ""
		if res.Truncated != nil {
			cut = res.Truncated.What
		}
		if len(res.Instances) != tc.n || cut != tc.cut {
			t.Errorf("%s: %d instances, truncated by %q, want %d, %q", tc.rule, len(res.Instances), cut, tc.n, tc.cut)
		}
		if len(res.Instances) > 0 && res.Instances[0].Start.Sub(from) >= 7*time.Second && tc.n == 10_000 {
			t.Errorf("%s: first instance is %v", tc.rule, res.Instances[0].Start)
		}
	}
	res := Expand(parse(t, object("DTSTART:20260101T000000Z\nRRULE:FREQ=DAILY")), time.Time{}, time.Time{}, nil, &ExpandOptions{MaxInstances: 3})
	if want := []string{"2026-01-01 00:00 0s id 20260101T000000Z", "2026-01-02 00:00 0s id 20260102T000000Z", "2026-01-03 00:00 0s id 20260103T000000Z"}; !cmp.Equal(show(res.Instances), want) || res.Truncated == nil {
		t.Errorf("unbounded: %v, %v", show(res.Instances), res.Truncated)
	}
}

func TestOccurrence(t *testing.T) {
	ics := object(weekly, "RECURRENCE-ID;TZID=Europe/Vienna:20260309T100000\nDTSTART;TZID=Europe/Vienna:20260310T100000\nSUMMARY:moved")
	o := NewObject(parse(t, ics), nil)
	for id, want := range map[string]string{
		"20260316T090000Z": "2026-03-16 10:00 1h0m0s id 20260316T100000",
		"20260309T090000Z": "2026-03-10 10:00 0s id 20260309T100000 override moved",
		"20260330":         "2026-03-30 10:00 1h0m0s id 20260330T100000",
		"20260317T090000Z": "",
		"20260413T080000Z": "", // the seventh of six
	} {
		rid, _ := ParseTime(id, "")
		in, err := o.Occurrence("1", rid)
		if want == "" {
			if !errors.Is(err, ErrNoOccurrence) {
				t.Errorf("Occurrence(%s) = %v, %v, want ErrNoOccurrence", id, in, err)
			}
			continue
		}
		if got := fmt.Sprint(show([]Instance{in})); err != nil || got != "["+want+"]" {
			t.Errorf("Occurrence(%s) = %s, %v, want %s", id, got, err, want)
		}
	}
}

func TestExtent(t *testing.T) {
	for _, tc := range []struct{ name, ics, first, last string }{
		{"single", object("DTSTART:20260310T090000Z\nDTEND:20260310T100000Z"), "20260310T090000Z", "20260310T100000Z"},
		{"count", object(weekly), "20260302T090000Z", "20260406T090000Z"},
		{"count with parts", object("DTSTART:20260310T090000Z\nRRULE:FREQ=MONTHLY;BYMONTHDAY=10,20;COUNT=3"), "20260310T090000Z", "20260410T090000Z"},
		{"until", object("DTSTART:20260310T090000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY;UNTIL=20260401T120000Z"), "20260310T090000Z", "20260401T130000Z"},
		{"infinite", object("DTSTART:20260310T090000Z\nRRULE:FREQ=DAILY"), "20260310T090000Z", "-"},
		{"more steps than allowed", object("DTSTART:20260310T090000Z\nRRULE:FREQ=SECONDLY;BYDAY=MO;COUNT=2000000"), "20260310T090000Z", "-"},
		{"override earlier, rdate later", object(weekly+"\nRDATE:20270101T000000Z", "RECURRENCE-ID:20260309T090000Z\nDTSTART:20260101T100000Z"), "20260101T100000Z", "20270101T010000Z"},
		{"range moved", object(weekly, "RECURRENCE-ID;RANGE=THISANDFUTURE:20260309T090000Z\nDTSTART:20260319T090000Z\nDTEND:20260319T110000Z"), "20260302T090000Z", "20260416T100000Z"},
		{"no date", object("SUMMARY:x"), "", ""},
		{"to-do without dates", "BEGIN:VCALENDAR\nBEGIN:VTODO\nUID:1\nEND:VTODO\nEND:VCALENDAR\n", "-", "-"},
	} {
		e, ok := NewObject(parse(t, tc.ics), nil).Extent()
		show := func(u time.Time) string {
			switch {
			case !ok:
				return ""
			case u.IsZero():
				return "-"
			}
			return u.Format("20060102T150405Z")
		}
		if show(e.First) != tc.first || show(e.Last) != tc.last {
			t.Errorf("%s: Extent() = %s, %s, want %s, %s", tc.name, show(e.First), show(e.Last), tc.first, tc.last)
		}
	}
}

func BenchmarkExpand(b *testing.B) {
	cal := parse(b, object("DTSTART;TZID=Europe/Vienna:20200106T100000\nDTEND;TZID=Europe/Vienna:20200106T110000\nRRULE:FREQ=WEEKLY;BYDAY=MO,WE,FR"))
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, bc := range []struct {
		name string
		to   time.Time
	}{{"week", from.AddDate(0, 0, 7)}, {"year", from.AddDate(1, 0, 0)}} {
		o := NewObject(cal, nil)
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n += len(o.Expand(from, bc.to, nil).Instances)
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "instances/s")
		})
	}
}
