package davserver

import (
	"fmt"
	"testing"
	"time"
)

// A calendar of 5,000 events over ten years, one in twenty of them recurring.
const manyEvents = 5000

func newLarge(b *testing.B) *testServer {
	s := newTestServer(b, nil)
	s.mkcalendar()
	begin := time.Date(2020, 1, 1, 8, 0, 0, 0, time.UTC)
	for i := range manyEvents {
		at := begin.Add(time.Duration(i) * 17 * time.Hour)
		lines := []string{
			"DTSTART:" + at.Format("20060102T150405Z"), "DTEND:" + at.Add(time.Hour).Format("20060102T150405Z"),
			fmt.Sprintf("SUMMARY:Event number %d", i), "DESCRIPTION:What there is to say of it takes a line or two\\, as it does in calendars.",
			"LOCATION:Somewhere", "CATEGORIES:Work,Private", "STATUS:CONFIRMED", "TRANSP:OPAQUE", "X-SOMETHING:else",
		}
		if i%20 == 0 {
			lines = append(lines, "RRULE:FREQ=WEEKLY;COUNT=10")
		}
		s.must(201, "PUT", fmt.Sprintf("%s%05d.ics", calendarPath, i), event(fmt.Sprintf("event-%d@example.com", i), lines...))
	}
	return s
}

func BenchmarkRequests(b *testing.B) {
	s := newLarge(b)
	const ns = ` xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"`
	query := func(prop, filter string) string {
		return `<C:calendar-query` + ns + `><D:prop><D:getetag/>` + prop + `</D:prop><C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT">` +
			filter + `</C:comp-filter></C:comp-filter></C:filter></C:calendar-query>`
	}
	multiget := `<C:calendar-multiget` + ns + `><D:prop><D:getetag/><C:calendar-data/></D:prop>`
	for i := range 100 {
		multiget += hrefElement(fmt.Sprintf("%s%05d.ics", calendarPath, i*37))
	}
	multiget += `</C:calendar-multiget>`
	token := parseAnswer(b, s.must(207, "REPORT", calendarPath, syncBody("")).Body.String()).token
	for i := range 20 {
		s.must(204, "PUT", fmt.Sprintf("%s%05d.ics", calendarPath, i), event(fmt.Sprintf("event-%d@example.com", i), "DTSTART:20260310T090000Z"))
	}
	week := `<C:time-range start="20261123T000000Z" end="20261130T000000Z"/>`
	for _, bm := range []struct{ name, method, path, depth, body string }{
		{"ctag", "PROPFIND", calendarPath, "0", `<D:propfind` + ns + `><D:prop><CS:getctag xmlns:CS="http://calendarserver.org/ns/"/></D:prop></D:propfind>`},
		{"etags", "PROPFIND", calendarPath, "1", `<D:propfind` + ns + `><D:prop><D:getetag/></D:prop></D:propfind>`},
		{"query-etags", "REPORT", calendarPath, "1", query("", "")},
		{"query-data", "REPORT", calendarPath, "1", query("<C:calendar-data/>", "")},
		{"query-week", "REPORT", calendarPath, "1", query("<C:calendar-data/>", week)},
		{"query-week-expand", "REPORT", calendarPath, "1", query(`<C:calendar-data><C:expand start="20261123T000000Z" end="20261130T000000Z"/></C:calendar-data>`, week)},
		{"query-uid", "REPORT", calendarPath, "1", query("", `<C:prop-filter name="UID"><C:text-match collation="i;octet">event-4711@example.com</C:text-match></C:prop-filter>`)},
		{"query-summary", "REPORT", calendarPath, "1", query("", `<C:prop-filter name="SUMMARY"><C:text-match>number 4711</C:text-match></C:prop-filter>`)},
		{"multiget-100", "REPORT", calendarPath, "1", multiget},
		{"sync-initial", "REPORT", calendarPath, "0", syncBody("")},
		{"sync-delta-20", "REPORT", calendarPath, "0", syncBody(token)},
		{"free-busy-week", "REPORT", calendarPath, "1", `<C:free-busy-query` + ns + `>` + week + `</C:free-busy-query>`},
		{"get", "GET", calendarPath + "02500.ics", "", ""},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				w := s.send(bm.method, bm.path, bm.body, "Depth", bm.depth)
				if size = w.Body.Len(); w.Code >= 300 {
					b.Fatalf("%d %s", w.Code, w.Body)
				}
			}
			b.ReportMetric(float64(size), "B/answer")
		})
	}
	b.Run("put", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			s.send("PUT", calendarPath+"put.ics", event("put", "DTSTART:20260310T090000Z", fmt.Sprintf("SUMMARY:%d", i)))
		}
	})
}
