package davserver

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// FuzzParseXML: whatever is read can be written so that it reads the same again, as
// dead properties are.
func FuzzParseXML(f *testing.F) {
	for _, s := range []string{
		`<D:propfind xmlns:D="DAV:"><D:prop><D:getetag/><x xmlns="urn:x" a="1" xml:lang="de">t&amp;e<y/>x</x></D:prop></D:propfind>`,
		`<a b="&quot;&#10;&#9;"><![CDATA[<>]]>&#13;</a>`, `<a xmlns:p="urn:p" p:q="r"><p:b/></a>`, `<!DOCTYPE a><a/>`, `<a><b></a></b>`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := parseXML(data)
		if err != nil {
			return
		}
		text := e.xml()
		again, err := parseXML([]byte(text))
		if err != nil {
			t.Fatalf("%q was written as %q, which is %v", data, text, err)
		}
		if diff := cmp.Diff(merged(e), merged(again)); diff != "" {
			t.Fatalf("%q was written as %q (-want +got):\n%s", data, text, diff)
		}
	})
}

// merged joins adjacent text: where one ends is not part of XML.
func merged(e *element) *element {
	out := &element{Name: e.Name, Attrs: e.Attrs, Chars: e.Chars}
	for _, c := range e.Children {
		if n := len(out.Children); c.Name.Local == "" && n > 0 && out.Children[n-1].Name.Local == "" {
			out.Children[n-1].Chars += c.Chars
			continue
		}
		out.Children = append(out.Children, merged(c))
	}
	return out
}

// FuzzRequests: no body makes the server fail or answer with XML that cannot be read.
func FuzzRequests(f *testing.F) {
	const ns = ` xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"`
	for i, body := range []string{
		`<D:propfind` + ns + `><D:allprop/></D:propfind>`,
		`<D:propertyupdate` + ns + `><D:set><D:prop><D:displayname>x</D:displayname></D:prop></D:set></D:propertyupdate>`,
		`<C:calendar-query` + ns + `><D:prop><C:calendar-data><C:comp name="VCALENDAR"/><C:expand start="20060101T000000Z" end="20060201T000000Z"/></C:calendar-data></D:prop><C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"><C:time-range start="20060101T000000Z"/></C:comp-filter></C:comp-filter></C:filter></C:calendar-query>`,
		`<C:calendar-multiget` + ns + `><D:prop><D:getetag/></D:prop><D:href>/dav/calendars/alice/work/abcd1.ics</D:href></C:calendar-multiget>`,
		`<D:sync-collection` + ns + `><D:sync-token/><D:limit><D:nresults>1</D:nresults></D:limit></D:sync-collection>`,
		`<C:free-busy-query` + ns + `><C:time-range start="20060101T000000Z" end="20060201T000000Z"/></C:free-busy-query>`,
		`<C:mkcalendar` + ns + `><D:set><D:prop><C:calendar-timezone>x</C:calendar-timezone></D:prop></D:set></C:mkcalendar>`,
		event("fuzz", "DTSTART:20260310T090000Z", "RRULE:FREQ=DAILY"),
	} {
		f.Add(uint8(i), []byte(body))
	}
	f.Fuzz(func(t *testing.T, n uint8, body []byte) {
		s := newTestServer(t, nil)
		s.fill(rfcObjects)
		methods := []string{"PROPFIND", "PROPPATCH", "REPORT", "REPORT", "REPORT", "REPORT", "MKCALENDAR", "PUT"}
		method := methods[int(n)%len(methods)]
		path := calendarPath
		switch method {
		case "MKCALENDAR":
			path = "/dav/calendars/alice/new/"
		case "PUT":
			path = calendarPath + "fuzz.ics"
		}
		w := s.send(method, path, string(body), "Depth", "1")
		if w.Code == 500 {
			t.Fatalf("%s %q = 500", method, body)
		}
		if got := w.Body.Bytes(); strings.HasPrefix(w.Header().Get("Content-Type"), "application/xml") {
			if _, err := parseXML(bytes.TrimSpace(got)); err != nil || !utf8.Valid(got) {
				t.Fatalf("%s %q is answered with %q: %v", method, body, got, err)
			}
		}
		s.checkStorage(t, "work")
	})
}
