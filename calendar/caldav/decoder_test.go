package caldav

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func decode(r io.Reader) ([]*response, string, error) {
	var out []*response
	token, err := newDecoder(r, 8<<20, 4<<20).multistatus(func(r *response) error {
		out = append(out, r)
		return nil
	})
	return out, token, err
}

func TestMultistatus(t *testing.T) {
	const doc = `<?xml version="1.0" encoding="utf-8"?>
<!-- a comment --><multistatus xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav">
  <response>
    <href>/a.ics</href>
    <propstat><prop><getetag>"1"</getetag><C:calendar-data><![CDATA[BEGIN:VCALENDAR
X:<a>]]>&amp;&#13;
<!-- in the middle -->END:VCALENDAR
</C:calendar-data></prop><status>HTTP/1.1 200 OK</status></propstat>
    <propstat><status>HTTP/1.1 404 Not Found</status><prop><displayname/></prop></propstat>
  </response>
  <unknown><response><href>/not/this</href></response></unknown>
  <response><href>/b</href><href>/c</href><status>HTTP/1.1 404</status><responsedescription>gone</responsedescription></response>
  <sync-token> t1 </sync-token>
</multistatus>`
	for name, r := range map[string]io.Reader{"whole": strings.NewReader(doc), "byte by byte": iotest.OneByteReader(strings.NewReader(doc))} {
		got, token, err := decode(r)
		if err != nil || token != "t1" || len(got) != 2 {
			t.Fatalf("%s: multistatus = %d responses, %q, %v", name, len(got), token, err)
		}
		if data := got[0].prop(propData).text; data != "BEGIN:VCALENDAR\nX:<a>&\r\nEND:VCALENDAR\n" {
			t.Errorf("%s: calendar-data = %q", name, data)
		}
		if diff := cmp.Diff([]PropStatus{{xml.Name{Space: "DAV:", Local: "displayname"}, 404}}, got[0].failed); diff != "" {
			t.Errorf("%s: failed properties (-want +got):\n%s", name, diff)
		}
		if got[0].text(propETag) != `"1"` || got[0].status != 0 || got[1].status != 404 || len(got[1].hrefs) != 2 {
			t.Errorf("%s: responses %+v %+v", name, got[0], got[1])
		}
	}
}

func TestMultistatusRefuses(t *testing.T) {
	bomb := `<?xml version="1.0"?><!DOCTYPE m [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>` + multi(`<d:response><d:href>&b;</d:href></d:response>`)[21:]
	for name, tt := range map[string]struct {
		doc  string
		want error
	}{
		"entities":        {bomb, ErrMalformed},
		"outer entity":    {`<!DOCTYPE m SYSTEM "file:///etc/passwd">` + multi(""), ErrMalformed},
		"doctype inside":  {multi(`<!DOCTYPE x>`), ErrMalformed},
		"unknown entity":  {multi(`<d:response><d:href>&nbsp;</d:href></d:response>`), ErrMalformed},
		"another root":    {`<html/>`, ErrMalformed},
		"no namespace":    {`<multistatus/>`, ErrMalformed},
		"empty":           {``, ErrMalformed},
		"text":            {`hello`, ErrMalformed},
		"breaks off":      {`<d:multistatus xmlns:d="DAV:"><d:response>`, ErrMalformed},
		"breaks off late": {`<d:multistatus xmlns:d="DAV:"><d:response></d:response>`, ErrMalformed},
		"control":         {multi(`<d:response><d:href>&#1;</d:href></d:response>`), ErrMalformed},
		"latin1":          {`<?xml version="1.0" encoding="latin1"?>` + multi("")[21:], ErrMalformed},
		"deep":            {multi(strings.Repeat("<x>", 100_000)), ErrTooLarge},
		"wide":            {multi("<d:response>" + strings.Repeat("<x/>", 200_000) + "</d:response>"), ErrTooLarge},
		"many attributes": {multi("<x " + strings.Repeat(`a="" `, 1_000_000) + "/>"), ErrTooLarge},
		"long":            {multi(strings.Repeat("<x/>", 3_000_000)), ErrTooLarge},
	} {
		if got, _, err := decode(strings.NewReader(tt.doc)); !errors.Is(err, tt.want) {
			t.Errorf("%s: multistatus = %d responses, %v, want %v", name, len(got), err, tt.want)
		}
	}
	broken := errors.New("connection reset")
	_, _, err := decode(io.MultiReader(strings.NewReader(multi("")[:40]), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) || errors.Is(err, ErrMalformed) {
		t.Errorf("a broken connection: %v", err)
	}
}

func TestStatusCode(t *testing.T) {
	for line, want := range map[string]int{
		"HTTP/1.1 200 OK": 200, " HTTP/2 404 ": 404, "HTTP/1.1 200": 200, "": 0, "200 OK": 0, "HTTP/1.1 OK": 0, "HTTP/1.1 99999": 0, "HTTP/1.1 -20": 0,
	} {
		if got := statusCode(line); got != want {
			t.Errorf("statusCode(%q) = %d, want %d", line, got, want)
		}
	}
}

// TestMultistatusMemory: a long listing needs no more memory than a short one.
func TestMultistatusMemory(t *testing.T) {
	peak := func(entries int) uint64 {
		runtime.GC()
		var before, now runtime.MemStats
		runtime.ReadMemStats(&before)
		var most uint64
		n := 0
		_, err := newDecoder(listing(entries), 1<<30, 1<<20).multistatus(func(*response) error {
			if n++; n%1000 == 0 {
				runtime.GC()
				runtime.ReadMemStats(&now)
				most = max(most, now.HeapAlloc-min(now.HeapAlloc, before.HeapAlloc))
			}
			return nil
		})
		if err != nil || n != entries {
			t.Fatalf("%d of %d entries, %v", n, entries, err)
		}
		return most
	}
	if short, long := peak(1000), peak(20_000); long > short+256<<10 {
		t.Errorf("20,000 entries keep %d bytes, 1,000 keep %d", long, short)
	}
}

// listing is a multistatus of so many entity tags as Nextcloud writes them, made while it
// is read.
func listing(entries int) io.Reader {
	r, w := io.Pipe()
	go func() {
		fmt.Fprint(w, `<?xml version="1.0"?><d:multistatus xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns">`)
		for i := range entries {
			fmt.Fprintf(w, `
  <d:response>
    <d:href>/remote.php/dav/calendars/alice/rep/event-%06d.ics</d:href>
    <d:propstat>
      <d:prop>
        <d:getetag>"%032x"</d:getetag>
      </d:prop>
      <d:status>HTTP/1.1 200 OK</d:status>
    </d:propstat>
  </d:response>`, i, i)
		}
		fmt.Fprint(w, "</d:multistatus>")
		w.Close()
	}()
	return r
}

func BenchmarkMultistatus5000(b *testing.B) {
	doc, err := io.ReadAll(listing(5000))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		_, err := newDecoder(bytes.NewReader(doc), 64<<20, 20<<20).multistatus(func(*response) error { n++; return nil })
		if err != nil || n != 5000 {
			b.Fatalf("%d entries, %v", n, err)
		}
	}
}

// FuzzMultistatus: whatever a server sends, the decoder returns, keeps to its limits, and
// gives hrefs that are canonical or refused.
func FuzzMultistatus(f *testing.F) {
	f.Add([]byte(aCalendar))
	f.Add([]byte(multi(`<d:response><d:href>/a%2fb c</d:href><d:status>HTTP/1.1 404 x</d:status></d:response><d:sync-token>t</d:sync-token>`)))
	f.Add([]byte(multi(`<d:response><d:href>https://evil.example/</d:href><d:propstat><d:prop><c:calendar-data><![CDATA[a]]></c:calendar-data></d:prop></d:propstat></d:response>`)))
	f.Add([]byte(`<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>`))
	o := origin{"https", "cloud.example.org"}
	c := &Client{server: &server{origin: o}}
	f.Fuzz(func(t *testing.T, doc []byte) {
		_, err := newDecoder(bytes.NewReader(doc), 1<<20, 1<<18).multistatus(func(r *response) error {
			for _, ref := range r.hrefs {
				href, err := o.resolve("href", "/dav/", ref)
				if err != nil {
					continue
				}
				if again, err := Canonical(href); err != nil || again != href {
					t.Errorf("resolve(%q) = %q, whose canonical form is %q, %v", ref, href, again, err)
				}
				c.newCalendar(href, r)
			}
			if tag := strongETag(r.text(propETag)); tag != "" && strings.ContainsAny(tag, "\r\n") {
				t.Errorf("entity tag %q", tag)
			}
			return nil
		})
		if err != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLarge) {
			t.Errorf("error of an unknown kind: %v", err)
		}
		davError(doc)
	})
}
