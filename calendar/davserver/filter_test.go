package davserver

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func component(kind, uid string, lines ...string) string {
	return "BEGIN:" + kind + "\r\nUID:" + uid + "\r\nDTSTAMP:20060206T001220Z\r\n" + strings.Join(lines, "\r\n") + "\r\nEND:" + kind + "\r\n"
}

func calendarOf(components ...string) string {
	return "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Test//EN\r\n" + strings.Join(components, "") + "END:VCALENDAR\r\n"
}

const eastern = ";TZID=America/New_York:"

// rfcObjects has what the examples of RFC 4791, section 7.8, ask about: its appendix
// B in other words.
var rfcObjects = map[string]string{
	"abcd1.ics": calendarOf(component("VEVENT", "uid1", "DTSTART"+eastern+"20060102T100000", "DURATION:PT1H", "SUMMARY:Event #1", "DESCRIPTION:Go Steelers!")),
	"abcd2.ics": calendarOf(
		component("VEVENT", "uid2", "DTSTART"+eastern+"20060102T120000", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=5", "SUMMARY:Event #2"),
		component("VEVENT", "uid2", "RECURRENCE-ID"+eastern+"20060104T120000", "DTSTART"+eastern+"20060104T140000", "DURATION:PT1H", "SUMMARY:Event #2 bis"),
		component("VEVENT", "uid2", "RECURRENCE-ID"+eastern+"20060106T120000", "DTSTART"+eastern+"20060106T140000", "DURATION:PT1H", "SUMMARY:Event #2 bis bis")),
	"abcd3.ics": calendarOf(component("VEVENT", "uid3", "DTSTART"+eastern+"20060104T100000", "DURATION:PT1H", "SUMMARY:Event #3", "STATUS:TENTATIVE",
		"ATTENDEE;PARTSTAT=ACCEPTED;ROLE=CHAIR:mailto:cyrus@example.com", "ATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:lisa@example.com", "X-ABC-GUID:E1CX5Dr-0007ym-Hz@example.com")),
	"abcd4.ics": calendarOf(component("VTODO", "uid4", "DUE;VALUE=DATE:20060104", "STATUS:NEEDS-ACTION", "SUMMARY:Task #1",
		"BEGIN:VALARM", "ACTION:AUDIO", "TRIGGER;RELATED=START:-PT10M", "END:VALARM")),
	"abcd5.ics": calendarOf(component("VTODO", "uid5", "DUE;VALUE=DATE:20060106", "STATUS:NEEDS-ACTION", "SUMMARY:Task #2",
		"BEGIN:VALARM", "ACTION:AUDIO", "TRIGGER;VALUE=DATE-TIME:20060106T120000Z", "END:VALARM")),
	"abcd6.ics": calendarOf(component("VTODO", "uid6", "COMPLETED:20051223T122322Z", "DUE;VALUE=DATE:20051225", "STATUS:COMPLETED", "SUMMARY:Task #3")),
	"abcd7.ics": calendarOf(component("VTODO", "uid7", "DUE;VALUE=DATE:20060101", "STATUS:CANCELLED", "SUMMARY:Task #4")),
}

func (s *testServer) fill(objects map[string]string) {
	s.t.Helper()
	s.mkcalendar()
	for name, data := range objects {
		s.must(201, "PUT", calendarPath+name, data)
	}
}

// query returns the names of the objects that a filter inside VCALENDAR finds, sorted.
func (s *testServer) query(filter string) []string {
	s.t.Helper()
	w := s.must(207, "REPORT", calendarPath, `<C:calendar-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><D:getetag/></D:prop><C:filter>
		<C:comp-filter name="VCALENDAR">`+filter+`</C:comp-filter></C:filter></C:calendar-query>`, "Depth", "1")
	names := []string{}
	for _, r := range parseAnswer(s.t, w.Body.String()).responses {
		names = append(names, strings.TrimPrefix(r.href, calendarPath))
	}
	slices.Sort(names)
	return names
}

func TestFilters(t *testing.T) {
	s := newTestServer(t, nil)
	s.fill(rfcObjects)
	in := func(kind, inner string) string {
		return `<C:comp-filter name="` + kind + `">` + inner + `</C:comp-filter>`
	}
	prop := func(name, inner string) string {
		return `<C:prop-filter name="` + name + `">` + inner + `</C:prop-filter>`
	}
	text := func(text string) string { return `<C:text-match>` + text + `</C:text-match>` }
	const absent = `<C:is-not-defined/>`
	events := []string{"abcd1.ics", "abcd2.ics", "abcd3.ics"}
	all := append(slices.Clone(events), "abcd4.ics", "abcd5.ics", "abcd6.ics", "abcd7.ics")
	for _, tt := range []struct {
		name, filter string
		want         []string
	}{
		{"7.8.1 time-range", in("VEVENT", `<C:time-range start="20060104T000000Z" end="20060105T000000Z"/>`), []string{"abcd2.ics", "abcd3.ics"}},
		{"todos by time", in("VTODO", `<C:time-range start="20060105T000000Z" end="20060106T000000Z"/>`), []string{"abcd5.ics"}},
		{"7.8.5 alarm", in("VTODO", in("VALARM", `<C:time-range start="20060106T100000Z" end="20060107T100000Z"/>`)), []string{"abcd5.ics"}},
		{"7.8.6 UID", in("VEVENT", prop("UID", `<C:text-match collation="i;octet">uid3</C:text-match>`)), []string{"abcd3.ics"}},
		{"7.8.7 PARTSTAT", in("VEVENT", prop("ATTENDEE", text("mailto:lisa@example.com")+
			`<C:param-filter name="PARTSTAT"><C:text-match>NEEDS-ACTION</C:text-match></C:param-filter>`)), []string{"abcd3.ics"}},
		{"7.8.7 the parameter is of the same property", in("VEVENT", prop("ATTENDEE", text("mailto:cyrus@example.com")+
			`<C:param-filter name="PARTSTAT"><C:text-match>NEEDS-ACTION</C:text-match></C:param-filter>`)), []string{}},
		{"7.8.8 events", in("VEVENT", ""), events},
		{"7.8.9 pending", in("VTODO", prop("COMPLETED", absent)+prop("STATUS", `<C:text-match negate-condition="yes">CANCELLED</C:text-match>`)), []string{"abcd4.ics", "abcd5.ics"}},
		{"7.8.10 unknown property", in("VEVENT", prop("X-ABC-GUID", text("E1CX5Dr-0007ym-Hz@example.com"))), []string{"abcd3.ics"}},
		{"nothing asked", "", all},
		{"no event inside", in("VEVENT", absent), all[3:]},
		{"alarm defined", in("VTODO", in("VALARM", "")), []string{"abcd4.ics", "abcd5.ics"}},
		{"alarm not defined", in("VTODO", in("VALARM", absent)), []string{"abcd6.ics", "abcd7.ics"}},
		{"letter case", in("VEVENT", prop("description", text("go STEELERS"))), []string{"abcd1.ics"}},
		{"octets", in("VEVENT", prop("DESCRIPTION", `<C:text-match collation="i;octet">go steelers</C:text-match>`)), []string{}},
		{"parameter defined", in("VEVENT", prop("ATTENDEE", `<C:param-filter name="ROLE"/>`)), []string{"abcd3.ics"}},
		{"parameter not defined", in("VEVENT", prop("DTSTART", `<C:param-filter name="TZID">`+absent+`</C:param-filter>`)), []string{}},
		{"property of the calendar", prop("PRODID", text("test")), all},
		{"time of a property", in("VTODO", prop("COMPLETED", `<C:time-range start="20051223T000000Z" end="20051224T000000Z"/>`)), []string{"abcd6.ics"}},
		{"two kinds at once", in("VEVENT", "") + in("VTODO", ""), []string{}},
		{"UID negated", in("VEVENT", prop("UID", `<C:text-match negate-condition="yes">uid3</C:text-match>`)), []string{"abcd1.ics", "abcd2.ics"}},
		{"the instance in the range has the text", in("VEVENT", prop("SUMMARY", text("#2 bis"))+`<C:time-range start="20060104T180000Z" end="20060104T200000Z"/>`), []string{"abcd2.ics"}},
		{"another instance has the text", in("VEVENT", prop("SUMMARY", text("#2 bis"))+`<C:time-range start="20060103T000000Z" end="20060104T000000Z"/>`), []string{}},
	} {
		if diff := cmp.Diff(tt.want, s.query(tt.filter)); diff != "" {
			t.Errorf("%s: query (-want +got):\n%s", tt.name, diff)
		}
	}
}

const viennaZone = `BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Test//EN
BEGIN:VTIMEZONE
TZID:Europe/Vienna
BEGIN:STANDARD
DTSTART:19701025T030000
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:19700329T020000
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU
END:DAYLIGHT
END:VTIMEZONE
END:VCALENDAR
`

// TestTimeRanges has the tables of RFC 4791, section 9.9, row by row. The calendar's
// zone is Vienna: one hour before UTC in winter.
func TestTimeRanges(t *testing.T) {
	for _, tt := range []struct {
		name, kind string
		lines      []string
		in, out    []string // start/end, either may be empty
	}{
		{"DTEND", "VEVENT", []string{"DTSTART:20260310T090000Z", "DTEND:20260310T100000Z"},
			[]string{"20260310T093000Z/20260310T094000Z", "20260310T080000Z/20260310T090001Z", "20260310T095959Z/20260310T110000Z", "20260309T000000Z/", "/20260311T000000Z"},
			[]string{"20260310T080000Z/20260310T090000Z", "20260310T100000Z/20260310T110000Z", "20260310T100000Z/", "/20260310T090000Z"}},
		{"DURATION", "VEVENT", []string{"DTSTART:20260310T090000Z", "DURATION:PT1H"},
			[]string{"20260310T093000Z/20260310T094000Z"}, []string{"20260310T100000Z/20260310T110000Z", "20260310T080000Z/20260310T090000Z"}},
		{"DURATION of nothing", "VEVENT", []string{"DTSTART:20260310T090000Z", "DURATION:PT0S"},
			[]string{"20260310T090000Z/20260310T100000Z"}, []string{"20260310T080000Z/20260310T090000Z", "20260310T090001Z/20260310T100000Z"}},
		{"no end", "VEVENT", []string{"DTSTART:20260310T090000Z"},
			[]string{"20260310T090000Z/20260310T100000Z", "20260310T080000Z/20260310T090001Z"}, []string{"20260310T090001Z/20260310T100000Z", "20260310T080000Z/20260310T090000Z"}},
		{"date", "VEVENT", []string{"DTSTART;VALUE=DATE:20260310"},
			[]string{"20260309T230000Z/20260309T230001Z", "20260310T120000Z/20260310T130000Z", "20260310T225959Z/20260311T000000Z"},
			[]string{"20260309T220000Z/20260309T230000Z", "20260310T230000Z/20260311T000000Z"}},
		{"floating", "VEVENT", []string{"DTSTART:20260710T003000", "DTEND:20260710T010000"},
			[]string{"20260709T223000Z/20260709T224000Z"}, []string{"20260710T003000Z/20260710T010000Z", "20260709T230000Z/20260710T000000Z"}},
		{"over midnight", "VEVENT", []string{"DTSTART;TZID=Europe/Vienna:20260310T230000", "DTEND;TZID=Europe/Vienna:20260311T010000"},
			[]string{"20260310T223000Z/20260310T224500Z", "20260310T233000Z/20260310T234500Z"}, []string{"20260311T000000Z/20260311T010000Z"}},
		{"a year long", "VEVENT", []string{"DTSTART:20260101T000000Z", "DTEND:20270101T000000Z"},
			[]string{"20260601T000000Z/20260602T000000Z"}, []string{"20270101T000000Z/20270102T000000Z"}},
		{"ten years long", "VEVENT", []string{"DTSTART:20200101T000000Z", "DTEND:20300101T000000Z"},
			[]string{"20260601T000000Z/20260602T000000Z"}, []string{"20300101T000000Z/20300102T000000Z"}},
		{"before 1970", "VEVENT", []string{"DTSTART:19650101T000000Z", "DTEND:19650101T010000Z"},
			[]string{"19650101T000000Z/19650102T000000Z", "/19700101T000000Z"}, []string{"19650102T000000Z/"}},
		{"weekly for ever", "VEVENT", []string{"DTSTART:20100105T090000Z", "DURATION:PT1H", "RRULE:FREQ=WEEKLY"},
			[]string{"20260310T093000Z/20260310T094000Z", "20400110T000000Z/20400117T000000Z"}, []string{"20260311T000000Z/20260317T000000Z", "/20100105T090000Z"}},
		{"daily since 2015", "VEVENT", []string{"DTSTART:20150101T090000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY"},
			[]string{"20261123T093000Z/20261123T094000Z"}, []string{"20261123T100000Z/20261124T090000Z"}},
		{"until", "VEVENT", []string{"DTSTART:20260105T090000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;UNTIL=20260107T090000Z"},
			[]string{"20260107T093000Z/20260107T094000Z"}, []string{"20260108T000000Z/20260109T000000Z"}},
		{"excluded", "VEVENT", []string{"DTSTART:20260105T090000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=3", "EXDATE:20260106T090000Z"},
			[]string{"20260107T000000Z/20260108T000000Z"}, []string{"20260106T000000Z/20260107T000000Z"}},
		{"added", "VEVENT", []string{"DTSTART:20260105T090000Z", "DURATION:PT1H", "RDATE:20260901T090000Z"},
			[]string{"20260901T093000Z/20260901T094000Z"}, []string{"20260801T000000Z/20260901T000000Z"}},
		{"over a change of clocks", "VEVENT", []string{"DTSTART;TZID=Europe/Vienna:20260301T090000", "DURATION:PT1H", "RRULE:FREQ=DAILY"},
			[]string{"20260330T070000Z/20260330T071500Z", "20260320T080000Z/20260320T081500Z"}, []string{"20260330T080000Z/20260330T090000Z"}},
		{"Windows zone", "VEVENT", []string{"DTSTART;TZID=Eastern Standard Time:20260310T090000", "DURATION:PT1H"},
			[]string{"20260310T130000Z/20260310T131500Z"}, []string{"20260310T140000Z/20260310T150000Z"}},

		{"DTSTART and DURATION", "VTODO", []string{"DTSTART:20260310T090000Z", "DURATION:PT1H"},
			[]string{"20260310T093000Z/20260310T094000Z", "20260310T100000Z/20260310T110000Z"}, []string{"20260310T100001Z/20260310T110000Z", "20260310T080000Z/20260310T090000Z"}},
		{"DTSTART and DUE", "VTODO", []string{"DTSTART:20260310T090000Z", "DUE:20260310T100000Z"},
			[]string{"20260310T093000Z/20260310T094000Z", "20260310T080000Z/20260310T090001Z"}, []string{"20260310T100000Z/20260310T110000Z", "20260310T070000Z/20260310T080000Z"}},
		{"DTSTART", "VTODO", []string{"DTSTART:20260310T090000Z"},
			[]string{"20260310T090000Z/20260310T100000Z"}, []string{"20260310T080000Z/20260310T090000Z", "20260310T090001Z/20260310T100000Z"}},
		{"DUE", "VTODO", []string{"DUE:20260310T090000Z"},
			[]string{"20260310T080000Z/20260310T090000Z", "20260310T085959Z/20260310T100000Z"}, []string{"20260310T090000Z/20260310T100000Z", "20260310T070000Z/20260310T080000Z"}},
		{"COMPLETED and CREATED", "VTODO", []string{"CREATED:20260301T000000Z", "COMPLETED:20260310T000000Z"},
			[]string{"20260305T000000Z/20260306T000000Z", "20260310T000000Z/20260311T000000Z"}, []string{"20260310T000001Z/20260311T000000Z", "20260227T000000Z/20260228T000000Z"}},
		{"COMPLETED", "VTODO", []string{"COMPLETED:20260310T000000Z"},
			[]string{"20260309T000000Z/20260310T000000Z"}, []string{"20260310T000001Z/20260311T000000Z"}},
		{"CREATED", "VTODO", []string{"CREATED:20260310T000000Z"},
			[]string{"20260311T000000Z/20260312T000000Z", "20300101T000000Z/"}, []string{"20260309T000000Z/20260310T000000Z"}},
		{"no date at all", "VTODO", []string{"SUMMARY:Some day"}, []string{"20260309T000000Z/20260310T000000Z", "19700101T000000Z/19700102T000000Z"}, nil},

		{"time", "VJOURNAL", []string{"DTSTART:20260310T090000Z"},
			[]string{"20260310T090000Z/20260310T100000Z"}, []string{"20260310T090001Z/20260310T100000Z"}},
		{"date", "VJOURNAL", []string{"DTSTART;VALUE=DATE:20260310"},
			[]string{"20260310T120000Z/20260310T130000Z"}, []string{"20260310T230000Z/20260311T000000Z"}},
		{"no date", "VJOURNAL", []string{"SUMMARY:Undated"}, nil, []string{"19700101T000000Z/20400101T000000Z"}},
	} {
		t.Run(tt.kind+" "+tt.name, func(t *testing.T) {
			s := newTestServer(t, nil)
			s.must(201, "MKCALENDAR", calendarPath, `<C:mkcalendar xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:set><D:prop><C:calendar-timezone>`+
				viennaZone+`</C:calendar-timezone></D:prop></D:set></C:mkcalendar>`)
			s.must(201, "PUT", calendarPath+"x.ics", calendarOf(component(tt.kind, "x", tt.lines...)))
			check := func(ranges []string, want int) {
				for _, r := range ranges {
					start, end, _ := strings.Cut(r, "/")
					attrs := ""
					if start != "" {
						attrs += fmt.Sprintf(` start="%s"`, start)
					}
					if end != "" {
						attrs += fmt.Sprintf(` end="%s"`, end)
					}
					got := s.query(`<C:comp-filter name="` + tt.kind + `"><C:time-range` + attrs + `/></C:comp-filter>`)
					if len(got) != want {
						t.Errorf("query(%s) = %v, want %d object", r, got, want)
					}
				}
			}
			check(tt.in, 1)
			check(tt.out, 0)
		})
	}
}

func TestMovedOverride(t *testing.T) {
	s := newTestServer(t, nil)
	s.fill(map[string]string{"x.ics": calendarOf(
		component("VEVENT", "x", "DTSTART:20260105T090000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=3"),
		component("VEVENT", "x", "RECURRENCE-ID:20260106T090000Z", "DTSTART:20280601T090000Z", "DURATION:PT1H"))})
	for _, tt := range []struct {
		start, end string
		want       int
	}{
		{"20280601T000000Z", "20280602T000000Z", 1},
		{"20260106T000000Z", "20260107T000000Z", 0},
		{"20260107T000000Z", "20260108T000000Z", 1},
	} {
		got := s.query(`<C:comp-filter name="VEVENT"><C:time-range start="` + tt.start + `" end="` + tt.end + `"/></C:comp-filter>`)
		if len(got) != tt.want {
			t.Errorf("query(%s/%s) = %v, want %d object", tt.start, tt.end, got, tt.want)
		}
	}
}

// TestZoneChanges moves a calendar to another zone: dates and floating times follow,
// without a change of the objects.
func TestZoneChanges(t *testing.T) {
	s := newTestServer(t, nil)
	s.fill(map[string]string{"x.ics": event("x", "DTSTART:20260110T003000", "DTEND:20260110T010000")})
	find := func(start, end string) int {
		return len(s.query(`<C:comp-filter name="VEVENT"><C:time-range start="` + start + `" end="` + end + `"/></C:comp-filter>`))
	}
	if n := find("20260110T003000Z", "20260110T010000Z"); n != 1 {
		t.Errorf("without a zone, read in UTC: found %d, want 1", n)
	}
	s.must(207, "PROPPATCH", calendarPath, `<D:propertyupdate xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:set><D:prop><C:calendar-timezone>`+
		viennaZone+`</C:calendar-timezone></D:prop></D:set></D:propertyupdate>`)
	if n := find("20260110T003000Z", "20260110T010000Z"); n != 0 {
		t.Errorf("in Vienna, the old time: found %d, want 0", n)
	}
	if n := find("20260109T233000Z", "20260110T000000Z"); n != 1 {
		t.Errorf("in Vienna, the new time: found %d, want 1", n)
	}
	west := strings.NewReplacer("Europe/Vienna", "Etc/GMT+12", "+0200", "-1200", "+0100", "-1200").Replace(viennaZone)
	s.must(207, "PROPPATCH", calendarPath, `<D:propertyupdate xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:set><D:prop><C:calendar-timezone>`+
		west+`</C:calendar-timezone></D:prop></D:set></D:propertyupdate>`)
	if n := find("20260110T123000Z", "20260110T130000Z"); n != 1 {
		t.Errorf("twelve hours behind UTC: found %d, want 1", n)
	}
}
