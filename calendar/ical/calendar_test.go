package ical

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// TestCases reads every file of testdata/cases: its bytes come back, and the
// warnings of parser and object, and the instances of 2026, are as listed.
func TestCases(t *testing.T) {
	want := map[string]struct {
		err      error
		warnings string // one for each, joined by "; "
		show     string // instances, joined by "; "
	}{
		"attendee.ics":          {show: "2026-11-10 09:00 1h0m0s Meeting with Bob"},
		"baddate.ics":           {warnings: `VEVENT baddate-1: DTSTART: ical: bad date or date-time "2026-03-12T09:00:00Z"`},
		"badrrule.ics":          {warnings: `VEVENT badrrule-1: ical: bad recurrence rule "FREQ=SOMETIMES": FREQ: unknown`, show: "2026-03-12 09:00 1h0m0s bad rrule"},
		"badrrule2.ics":         {warnings: `VEVENT badrrule-2: ical: bad recurrence rule "FREQ=DAILY;COUNT=0": COUNT: no positive number`, show: "2026-03-12 09:00 1h0m0s count 0"},
		"control.ics":           {show: "2026-03-12 09:00 0s ctl\abell\x00nul"},
		"dtendduration.ics":     {show: "2026-03-12 10:00 1h0m0s both"},
		"emoji.ics":             {show: "2026-03-12 09:00 0s \U0001f600 emoji"},
		"empty.ics":             {err: ErrNotCalendar},
		"endbefore.ics":         {warnings: "VEVENT endbefore-1: DTEND lies before the start", show: "2026-03-12 10:00 0s end before start"},
		"garbage.ics":           {err: ErrNotCalendar},
		"ianatz_novtz.ics":      {show: "2026-03-12 10:00 1h0m0s iana tz no VTIMEZONE"},
		"journal.ics":           {show: "2026-03-12 24h0m0s j"},
		"latin1.ics":            {warnings: "line 7: not UTF-8", show: "2026-03-12 09:00 0s café"},
		"lf.ics":                {show: "2026-03-12 09:00 0s LF only"},
		"method.ics":            {show: "2026-03-12 09:00 0s method"},
		"mixed.ics":             {show: "2026-03-12 09:00 0s"},
		"nodtstamp.ics":         {show: "2026-03-11 09:00 1h0m0s no dtstamp"},
		"nodtstart.ics":         {},
		"noprodid.ics":          {show: "2026-03-12 09:00 0s no prodid"},
		"noseq_noinstances.ics": {},
		"nouid.ics":             {show: "2026-03-11 09:00 1h0m0s no uid"},
		"noversion.ics":         {show: "2026-03-12 09:00 0s no version"},
		"onlytz.ics":            {},
		"orphan_override.ics":   {show: "2026-03-17 10:00 1h0m0s id 20260317T090000Z override Orphan override only"},
		"recur.ics": {show: "2026-03-16 10:00 1h0m0s id 20260316T100000 Weekly Berlin; 2026-03-19 15:00 1h0m0s id 20260319T150000 Weekly Berlin; " +
			"2026-03-31 14:00 1h0m0s id 20260330T100000 override Weekly moved; 2026-04-06 10:00 1h0m0s id 20260406T100000 Weekly Berlin; " +
			"2026-04-13 10:00 1h0m0s id 20260413T100000 Weekly Berlin; 2026-04-20 10:00 1h0m0s id 20260420T100000 Weekly Berlin"},
		"recur_allday.ics": {show: "2026-03-16 24h0m0s id 20260316 All day daily; 2026-03-17 24h0m0s id 20260317 All day daily; 2026-03-18 24h0m0s id 20260318 All day daily"},
		"recur_customtz.ics": {show: "2026-03-16 12:00 1h0m0s id 20260316T120000 Custom TZ weekly; 2026-03-23 12:00 1h0m0s id 20260323T120000 Custom TZ weekly; " +
			"2026-03-30 12:00 1h0m0s id 20260330T120000 Custom TZ weekly; 2026-04-06 12:00 1h0m0s id 20260406T120000 Custom TZ weekly"},
		"recur_float.ics": {show: "2026-03-16 08:00 30m0s id 20260316T080000 Floating daily; 2026-03-17 08:00 30m0s id 20260317T080000 Floating daily; 2026-03-18 08:00 30m0s id 20260318T080000 Floating daily"},
		"recur_inf.ics":   {show: "2026-01-01 08:00 30m0s id 20260101T080000Z Infinite; 2026-01-02 08:00 30m0s id 20260102T080000Z Infinite; ... 365"},
		"simple.ics":      {show: "2026-03-10 09:00 1h0m0s Simple"},
		"simple_b.ics":    {show: "2026-03-10 09:30 30m0s Simple changed"},
		"todo.ics":        {show: "2026-03-12 09:00 0s todo"},
		"truncated.ics":   {warnings: "line 9: not a property; line 9: no END:VCALENDAR; line 9: no END:VEVENT", show: "2026-03-12 09:00 0s x"},
		"twomasters.ics":  {show: "2026-03-12 09:00 0s; 2026-03-13 09:00 0s"},
		"twouids.ics":     {show: "2026-03-12 09:00 0s; 2026-03-12 09:00 0s"},
		"unknowntz.ics":   {warnings: `unknown time zone "Mars/Phobos", read in the default zone`, show: "2026-03-12 10:00 1h0m0s unknown tz"},
		"vcard.ics":       {err: ErrNotCalendar},
	}
	files, err := filepath.Glob("testdata/cases/*.ics")
	if err != nil || len(files) != len(want) {
		t.Fatalf("%d files, %v, want %d", len(files), err, len(want))
	}
	for _, f := range files {
		w, ok := want[filepath.Base(f)]
		if !ok {
			t.Errorf("%s is not expected", f)
		}
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		cal, err := Parse(data, nil)
		if !errors.Is(err, w.err) || (err == nil) != (w.err == nil) {
			t.Errorf("Parse(%s): %v, want %v", f, err, w.err)
		}
		if err != nil {
			continue
		}
		if got := cal.Bytes(); !bytes.Equal(got, data) {
			t.Errorf("%s comes back as %q", f, got)
		}
		o := NewObject(cal, time.UTC)
		var warnings []string
		for _, x := range cal.Warnings() {
			warnings = append(warnings, x.String())
		}
		warnings = append(warnings, o.Warnings()...)
		if got := strings.Join(warnings, "; "); got != w.warnings {
			t.Errorf("%s: warnings %s, want %s", f, got, w.warnings)
		}
		list := show(o.Expand(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), nil).Instances)
		if len(list) == 365 {
			list = append(list[:2], "... 365")
		}
		if got := strings.Join(list, "; "); got != w.show {
			t.Errorf("%s: instances %s, want %s", f, got, w.show)
		}
	}
}

// What is odd is kept, and reading it back gives it back.
func TestParseKeepsEverything(t *testing.T) {
	for _, s := range []string{
		"BEGIN:VCALENDAR\r\nEND:VCALENDAR",
		"\ufeffBEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n",
		"junk\nBEGIN:VCALENDAR\nEND:VCALENDAR\n\n\n",
		" starts with a fold\nBEGIN:VCALENDAR\nEND:VCALENDAR\n",
		"BEGIN:VCALENDAR\r\n\r\nSUMMARY:a\r\n b\r\n\tc\r\n \r\nEND:VCALENDAR\r\nBEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n",
		"BEGIN:VCALENDAR\r\r\nX:1\r\r\nEND:VCALENDAR\r\r\n",
		"begin:vcalendar\nBegin:vevent\nsummary;language=de:x\nEND:vevent\nend:Vcalendar\n",
		"BEGIN:VCALENDAR\nBEGIN:VEVENT\nBEGIN:VALARM\nEND:VEVENT\nEND:NOTHING\nEND:VCALENDAR\n",
		"BEGIN:VCALENDAR\nDTSTART;TZID=X\nATTENDEE;CN=\"Bob:mailto:x@y\nX-A;B;C=;=d:v\n;:\n:\nEND:VCALENDAR\n",
		"BEGIN:VCALENDAR\nX:\xff\xfe\x00\r\x80\nEND:VCALENDAR\r",
		"BEGIN:VCALENDAR\nSUMMARY:\xc3\n \xa9 split\nEND:VCALENDAR\n",
		"BEGIN:VCALENDAR\nBEGIN:\nBEGIN:a b\nEND:VCALENDAR\n",
	} {
		cal := parse(t, s)
		if got := string(cal.Bytes()); got != s {
			t.Errorf("Parse(%q).Bytes() = %q", s, got)
		}
		if got := string(cal.Clone().Bytes()); got != s {
			t.Errorf("Parse(%q).Clone().Bytes() = %q", s, got)
		}
	}
	cal := parse(t, "BEGIN:VCALENDAR\nSUMMARY:\xc3\n \xa9 split\nEND:VCALENDAR\n")
	if got := cal.Text("SUMMARY"); got != "é split" {
		t.Errorf("unfolded %q, want %q", got, "é split")
	}
}

func TestLimits(t *testing.T) {
	deep := strings.Repeat("BEGIN:X\n", 20)
	for _, tc := range []struct {
		ics  string
		lim  *Limits
		what string
	}{
		{strings.Repeat("x", 11<<20), nil, "size"},
		{"BEGIN:VCALENDAR\nX:1\n", &Limits{Size: 10}, "size"},
		{"BEGIN:VCALENDAR\nX:12345\n 678901234\n", &Limits{Line: 16}, "length of line 2"},
		{"BEGIN:VCALENDAR\n" + deep, nil, "depth of components"},
		{"BEGIN:VCALENDAR\nX:1\nX:2\nX:3\n", &Limits{Properties: 2}, "number of properties"},
		{"BEGIN:VCALENDAR\nBEGIN:A\nEND:A\nBEGIN:A\nEND:A\n", &Limits{Components: 2}, "number of components"},
	} {
		_, err := Parse([]byte(tc.ics), tc.lim)
		var le *LimitError
		if !errors.As(err, &le) || le.What != tc.what || le.Size <= le.Limit {
			t.Errorf("Parse(%.30q, %+v): %v, want a limit on %s", tc.ics, tc.lim, err, tc.what)
		}
	}
	if _, err := Parse([]byte("BEGIN:VCALENDAR\n"+deep), &Limits{Depth: -1}); err != nil {
		t.Errorf("no limit: %v", err)
	}
}

func TestFolding(t *testing.T) {
	for _, s := range []string{
		strings.Repeat("a", 64), strings.Repeat("a", 67), strings.Repeat("a", 68), strings.Repeat("a", 500),
		strings.Repeat("é", 200), "x" + strings.Repeat("\U0001f600", 100), strings.Repeat("\x80", 300),
	} {
		cal := New("test")
		cal.Add(NewProperty("SUMMARY", s))
		out := cal.Bytes()
		for line := range bytes.SplitSeq(bytes.TrimSuffix(out, []byte("\r\n")), []byte("\r\n")) {
			if len(line) > 75 {
				t.Errorf("%.10q: a line of %d octets", s, len(line))
			}
			if utf8.ValidString(s) && !utf8.Valid(line) {
				t.Errorf("%.10q: split character in %q", s, line)
			}
		}
		if bytes.Contains(bytes.ReplaceAll(out, []byte("\r\n"), nil), []byte("\n")) {
			t.Errorf("%.10q: a bare line feed", s)
		}
		if got := parse(t, string(out)).Property("SUMMARY").Value(); got != s {
			t.Errorf("%.10q comes back as %.10q", s, got)
		}
	}
}

// A change touches the lines that it is about, no others.
func TestPatch(t *testing.T) {
	const in = "BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\nuid:1\nSUMMARY;X-A=\"b;c\";LANGUAGE=de:Old\n  folded\n" +
		"DTSTART;X-B=1;TZID=Europe/Berlin:20260310T100000\nDTEND;TZID=\"Europe/Berlin\":20260310T110000\nCATEGORIES:a,b\\,c\nX-WEIRD  bad line\nBEGIN:VALARM\nTRIGGER:-PT15M\nEND:VALARM\nX-RAW:a, b\nX-DAY;value=date:20260310\nCATEGORIES:d\nEND:VEVENT\nEND:VCALENDAR"
	for _, tc := range []struct {
		name      string
		change    func(ev *Component)
		old, want string
	}{
		{"same text", func(ev *Component) { ev.SetText("SUMMARY", "Old folded") }, "", ""},
		{"same raw value, folded", func(ev *Component) { ev.SetValue("SUMMARY", "Old folded") }, "", ""},
		{"same text, escaped otherwise", func(ev *Component) { ev.SetText("X-RAW", "a, b") }, "", ""},
		{"same time", func(ev *Component) {
			start, _ := ev.Time("DTSTART")
			ev.SetTime("DTSTART", start)
		}, "", ""},
		{"same date, other letters", func(ev *Component) { ev.SetTime("X-DAY", DateOf(2026, 3, 10)) }, "", ""},
		{"same list", func(ev *Component) { ev.SetTextList("CATEGORIES", []string{"a", "b,c", "d"}) }, "", ""},
		{"same duration", func(ev *Component) {
			ev.Components("VALARM")[0].SetDuration("TRIGGER", Duration{Time: -15 * time.Minute})
		}, "", ""},
		{"text", func(ev *Component) { ev.SetText("SUMMARY", "a;b, c\\\nd") }, "SUMMARY;X-A=\"b;c\";LANGUAGE=de:Old\n  folded\n", "SUMMARY;X-A=\"b;c\";LANGUAGE=de:a\\;b\\, c\\\\\\nd\n"},
		{"time to date", func(ev *Component) { ev.SetTime("dtstart", DateOf(2026, 3, 11)) }, "DTSTART;X-B=1;TZID=Europe/Berlin:20260310T100000", "DTSTART;X-B=1;VALUE=DATE:20260311"},
		{"time to UTC", func(ev *Component) { ev.SetTime("DTSTART", UTCTime(time.Date(2026, 3, 11, 1, 2, 3, 0, time.UTC))) }, "DTSTART;X-B=1;TZID=Europe/Berlin:20260310T100000", "DTSTART;X-B=1:20260311T010203Z"},
		{"list", func(ev *Component) { ev.SetTextList("CATEGORIES", []string{"x,y", "z"}) }, "CATEGORIES:a,b\\,c\nX-WEIRD  bad line\nBEGIN:VALARM\nTRIGGER:-PT15M\nEND:VALARM\nX-RAW:a, b\nX-DAY;value=date:20260310\nCATEGORIES:d\n", "CATEGORIES:x\\,y,z\nX-WEIRD  bad line\nBEGIN:VALARM\nTRIGGER:-PT15M\nEND:VALARM\nX-RAW:a, b\nX-DAY;value=date:20260310\n"},
		{"remove", func(ev *Component) { ev.Remove("Summary") }, "SUMMARY;X-A=\"b;c\";LANGUAGE=de:Old\n  folded\n", ""},
		{"param", func(ev *Component) { ev.Property("SUMMARY").SetParam("X-A", "q\"r", "s,t") }, "SUMMARY;X-A=\"b;c\";LANGUAGE=de:Old\n  folded\n", "SUMMARY;X-A=q^'r,\"s,t\";LANGUAGE=de:Old folded\n"},
		{"param removed", func(ev *Component) { ev.Property("SUMMARY").SetParam("X-A") }, "SUMMARY;X-A=\"b;c\";LANGUAGE=de:Old\n  folded\n", "SUMMARY;LANGUAGE=de:Old folded\n"},
		{"new property", func(ev *Component) { ev.SetText("LOCATION", "Room 1") }, "CATEGORIES:d\n", "CATEGORIES:d\nLOCATION:Room 1\n"},
		{"one more of a name", func(ev *Component) { ev.Add(NewProperty("SUMMARY", "second")) }, "  folded\n", "  folded\nSUMMARY:second\n"},
		{"trigger to a time", func(ev *Component) {
			ev.Components("VALARM")[0].SetTime("TRIGGER", UTCTime(time.Date(2026, 3, 11, 1, 2, 3, 0, time.UTC)))
		}, "TRIGGER:-PT15M", "TRIGGER;VALUE=DATE-TIME:20260311T010203Z"},
		{"time, quoted zone", func(ev *Component) {
			end, _ := ev.Time("DTEND")
			ev.SetTime("DTEND", end.at(end.wall()+3600))
		}, "DTEND;TZID=\"Europe/Berlin\":20260310T110000", "DTEND;TZID=\"Europe/Berlin\":20260310T120000"},
		{"new component", func(ev *Component) {
			a := NewComponent("VALARM")
			a.Add(NewProperty("ACTION", "DISPLAY"))
			ev.AddComponent(a)
		}, "CATEGORIES:d\n", "CATEGORIES:d\nBEGIN:VALARM\nACTION:DISPLAY\nEND:VALARM\n"},
		{"component removed", func(ev *Component) { ev.RemoveComponent(ev.Components("VALARM")[0]) }, "BEGIN:VALARM\nTRIGGER:-PT15M\nEND:VALARM\n", ""},
		{"property removed", func(ev *Component) { ev.RemoveProperty(ev.Properties("CATEGORIES")[1]) }, "CATEGORIES:d\n", ""},
	} {
		cal := parse(t, in)
		tc.change(cal.Components("VEVENT")[0])
		want := in
		if tc.old != "" {
			want = strings.Replace(in, tc.old, tc.want, 1)
		}
		if diff := cmp.Diff(want, string(cal.Bytes())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
	// A file without a last line break gets one before what is added.
	cal := parse(t, "BEGIN:VCALENDAR\r\nX:1")
	cal.Add(NewProperty("Y", "2"))
	if got, want := string(cal.Bytes()), "BEGIN:VCALENDAR\r\nX:1\r\nY:2\r\n"; got != want {
		t.Errorf("Bytes() = %q, want %q", got, want)
	}
}

// No value can become a second line.
func TestNoInjection(t *testing.T) {
	evil := "x\r\nATTENDEE:mailto:evil@example.test\nBEGIN:VALARM\r"
	cal := New(evil)
	cal.SetText("SUMMARY", evil)
	cal.SetValue("URL", evil)
	cal.Property("URL").SetParam("X-P", evil)
	cal.Add(NewProperty("X-Q", evil, Param{Name: "CN", Values: []string{evil, `"`}}))
	back := parse(t, string(cal.Bytes()))
	if n := len(back.Properties("")); n != 5 || back.Property("ATTENDEE") != nil || len(back.Components("")) != 0 || len(back.Warnings()) > 0 {
		t.Errorf("%d properties, want 5:\n%s", n, cal.Bytes())
	}
	want := "x\nATTENDEE:mailto:evil@example.test\nBEGIN:VALARM\n"
	if got := back.Text("SUMMARY"); got != want {
		t.Errorf("SUMMARY is %q, want %q", got, want)
	}
	if got := back.Property("X-Q").ParamValues("CN"); !cmp.Equal(got, []string{want, `"`}) {
		t.Errorf("CN is %q, want %q", got, []string{want, `"`})
	}
	for _, name := range []string{"", "A B", "A:B", "A\nB"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("NewProperty(%q) does not panic", name)
				}
			}()
			NewProperty(name, "")
		}()
	}
}

func TestText(t *testing.T) {
	for s, want := range map[string]string{
		"plain": "plain", "a,b;c\\d": `a\,b\;c\\d`, "l1\nl2\r\nl3\rl4": `l1\nl2\nl3\nl4`, "tab\tbell\a": "tab\tbell", "é": "é",
	} {
		if got := EscapeText(s); got != want {
			t.Errorf("EscapeText(%q) = %q, want %q", s, got, want)
		}
	}
	for s, want := range map[string]string{
		`a\,b\;c\\d`: "a,b;c\\d", `x\Ny\nz`: "x\ny\nz", `C:\temp\`: `C:\temp\`, `\x`: `\x`, "caf\xe9": "café",
	} {
		if got := UnescapeText(s); got != want {
			t.Errorf("UnescapeText(%q) = %q, want %q", s, got, want)
		}
	}
	if got, want := SplitList(`a,b\,c,,d\\,e`), []string{"a", `b\,c`, "", `d\\`, "e"}; !cmp.Equal(got, want) {
		t.Errorf("SplitList = %q, want %q", got, want)
	}
}

func TestParams(t *testing.T) {
	cal := parse(t, "BEGIN:VCALENDAR\nATTENDEE;CN=\"Doe, John\";x-list=a,\"b,c\",\"d:e\";M=^n^'^^^x;FLAG;RSVP=TRUE:mailto:j@example.test\nEND:VCALENDAR\n")
	p := cal.Property("attendee")
	want := []Param{{"CN", []string{"Doe, John"}}, {"X-LIST", []string{"a", "b,c", "d:e"}}, {"M", []string{"\n\"^^x"}}, {"FLAG", []string{""}}, {"RSVP", []string{"TRUE"}}}
	if diff := cmp.Diff(want, p.Params()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if p.Param("rsvp") != "TRUE" || p.Param("none") != "" || p.Value() != "mailto:j@example.test" {
		t.Errorf("Param, Value: %q %q", p.Param("rsvp"), p.Value())
	}
	p.SetParam("PARTSTAT", "ACCEPTED")
	if got, want := p.String(), "ATTENDEE;CN=\"Doe, John\";x-list=a,\"b,c\",\"d:e\";M=^n^'^^^x;FLAG;RSVP=TRUE;PARTSTAT=ACCEPTED:mailto:j@example.test"; got != want {
		t.Errorf("SetParam: %s, want %s", got, want)
	}
}

func TestDuration(t *testing.T) {
	for in, want := range map[string]string{
		"PT15M": "PT15M", "-PT15M": "-PT15M", "+P1W": "P1W", "P7D": "P1W", "P1DT12H": "P1DT12H", "PT0S": "PT0S", "P0D": "PT0S",
		"PT90M": "PT1H30M", "PT1H0M30S": "PT1H30S", "P1W2D": "P9D", "pt5m": "PT5M", "-P1DT0H": "-P1D", "PT3600S": "PT1H",
	} {
		d, err := ParseDuration(in)
		if err != nil || d.String() != want {
			t.Errorf("ParseDuration(%q) = %s, %v, want %s", in, d, err, want)
		}
	}
	for _, in := range []string{"", "P", "1H", "PT1", "P1H", "PT1D", "--PT1H", "PT99999999999H", "PT999999999H", "P999999999W", "P1Y", "P40000D"} {
		if d, err := ParseDuration(in); err == nil {
			t.Errorf("ParseDuration(%q) = %s, want an error", in, d)
		}
	}
}

func TestTime(t *testing.T) {
	for _, tc := range []struct{ value, tzid, want string }{
		{"20260310", "Europe/Vienna", "20260310 date"}, {"20260310T090000Z", "Europe/Vienna", "20260310T090000Z utc"},
		{"20260310T090000", "", "20260310T090000 floating"}, {"20260310T090000", "Europe/Vienna", "20260310T090000 Europe/Vienna"},
		{"20261231T235960Z", "", "20261231T235959Z utc"}, {"20240229", "", "20240229 date"}, {" 20260310t090000z ", "", "20260310T090000Z utc"},
	} {
		v, err := ParseTime(tc.value, tc.tzid)
		got := v.String() + " " + v.TZID
		switch {
		case v.Date:
			got += "date"
		case v.UTC:
			got += "utc"
		case v.Floating():
			got += "floating"
		}
		if err != nil || got != tc.want {
			t.Errorf("ParseTime(%q, %q) = %s, %v, want %s", tc.value, tc.tzid, got, err, tc.want)
		}
	}
	for _, in := range []string{"", "2026-03-10", "20260310T0900", "20260230", "20261301", "20260310T250000", "00000101", "-0010101", "20260310T090000+01"} {
		if v, err := ParseTime(in, ""); err == nil {
			t.Errorf("ParseTime(%q) = %v, want an error", in, v)
		}
	}
}
