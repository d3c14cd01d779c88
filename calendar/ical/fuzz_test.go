package ical

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// FuzzParse: what is accepted comes back octet for octet; what is changed can be
// read again and says what was written; nothing else changes.
func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/cases/*.ics")
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, "text")
	}
	f.Add([]byte("\ufeffBEGIN:VCALENDAR\n;\nX;A=\"b:c\r\n \xc3\nEND:VCALENDAR"), "a\nb;\\,\x00")
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		cal, err := Parse(data, &Limits{Size: 1 << 16})
		if err != nil {
			return
		}
		if got := cal.Bytes(); !bytes.Equal(got, data) {
			t.Fatalf("Parse(%q).Bytes() = %q", data, got)
		}
		o := NewObject(cal, nil)
		o.Extent()
		opts := &ExpandOptions{MaxInstances: 100, MaxSteps: 2000}
		o.Expand(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), opts)
		cal.EnsureTimezones()
		for _, c := range cal.Components("") {
			for _, p := range c.Properties("") {
				p.Params()
				p.TextList()
				p.Times()
				p.Periods()
			}
			c.SetText("X-FUZZ", text)
			c.Property("X-FUZZ").SetParam("X-P", text)
		}
		back, err := Parse(cal.Bytes(), nil)
		if err != nil {
			t.Fatalf("changed: %v\n%q", err, cal.Bytes())
		}
		if got := back.Bytes(); !bytes.Equal(got, cal.Bytes()) {
			t.Fatalf("changed: %q comes back as %q", cal.Bytes(), got)
		}
		if a, b := len(cal.Components("")), len(back.Components("")); a != b {
			t.Fatalf("%d components come back as %d\n%q", a, b, cal.Bytes())
		}
		for i, c := range cal.Components("") {
			b := back.Components("")[i]
			if c.Text("X-FUZZ") != b.Text("X-FUZZ") || c.Property("X-FUZZ").Param("X-P") != b.Property("X-FUZZ").Param("X-P") {
				t.Fatalf("%q was written, %q read", c.Property("X-FUZZ"), b.Property("X-FUZZ"))
			}
		}
	})
}

// FuzzExpand: any rule ends within its steps; instances are in order, in the
// window, not twice; a window in the middle shows what the whole shows there.
func FuzzExpand(f *testing.F) {
	f.Add("FREQ=DAILY;COUNT=10", "20260301T100000", "Europe/Vienna", 5)
	f.Add("FREQ=MONTHLY;BYDAY=-1FR,2MO;BYSETPOS=-1", "20200131", "", 100)
	f.Add("FREQ=SECONDLY;BYHOUR=1,2,3;BYSECOND=59", "19700101T000000Z", "", 20000)
	f.Add("FREQ=YEARLY;BYWEEKNO=1,-1;BYYEARDAY=1,-1;UNTIL=20300101", "20000101T023000", "America/New_York", 9000)
	f.Fuzz(func(t *testing.T, rule, start, tzid string, days int) {
		cal := New("fuzz")
		ev := NewComponent("VEVENT")
		cal.AddComponent(ev)
		ev.SetValue("DTSTART", start)
		if tzid != "" {
			ev.Property("DTSTART").SetParam("TZID", tzid)
		}
		ev.SetValue("RRULE", rule)
		ev.SetValue("DURATION", "PT1H")
		first, err := ev.Time("DTSTART")
		if err != nil || first.Wall.Year() < 200 { // the zero time.Time is no bound
			return
		}
		o := NewObject(cal, nil)
		from := first.Wall.AddDate(0, 0, days%40000)
		to := from.AddDate(0, 0, 40)
		opts := &ExpandOptions{MaxInstances: 500, MaxSteps: 5000}
		res := o.Expand(from, to, opts)
		for i, in := range res.Instances {
			if in.End.Before(from) || !in.Start.Before(to) {
				t.Fatalf("%s is not in %s to %s", in.Start, from, to)
			}
			if i > 0 && !in.Start.After(res.Instances[i-1].Start) {
				t.Fatalf("%s after %s", in.Start, res.Instances[i-1].Start)
			}
		}
		half := from.AddDate(0, 0, 20)
		part := o.Expand(half, to, opts)
		if res.Truncated != nil || part.Truncated != nil {
			return
		}
		n := 0
		for _, in := range res.Instances {
			if in.End.After(half) {
				n++
			}
		}
		if n != len(part.Instances) {
			t.Fatalf("%d instances from %s on, of the whole %d", len(part.Instances), half, n)
		}
		if e, ok := o.Extent(); len(res.Instances) > 0 {
			a, b := res.Instances[0], res.Instances[len(res.Instances)-1]
			if !ok || a.Start.Before(e.First) || !e.Last.IsZero() && b.End.After(e.Last) {
				t.Fatalf("%s to %s is outside of %v", a.Start, b.End, e)
			}
		}
	})
}
