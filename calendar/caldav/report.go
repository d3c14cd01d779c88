package caldav

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// report asks a calendar with a REPORT of Depth 1: without it Nextcloud refuses
// calendar-query.
func (c *Client) report(ctx context.Context, calendar string, body []byte, each func(href string, resp *response) error) error {
	r := &request{method: "REPORT", href: calendar, header: xmlHeader("1"), body: body}
	_, err := c.multistatus(ctx, r, each)
	return err
}

// ListObjects returns all objects of a calendar with their entity tags, by href, or those
// with a component such as VEVENT if it isn't "". The server's own time range is not
// offered: Nextcloud silently omits long series from it, and other servers are wrong in
// other ways.
func (c *Client) ListObjects(ctx context.Context, calendar, component string) ([]Entry, error) {
	calendar, err := Canonical(collection(calendar))
	if err != nil {
		return nil, fmt.Errorf("list objects: %w", err)
	}
	w := newBody(caldav("calendar-query")).props(propETag).start(caldav("filter"))
	if component == "" {
		w.empty(caldav("comp-filter"), "name", "VCALENDAR")
	} else {
		w.startAttrs(caldav("comp-filter"), "name", "VCALENDAR").empty(caldav("comp-filter"), "name", component)
	}
	var out []Entry
	err = c.report(ctx, calendar, w.bytes(), func(href string, resp *response) error {
		if resp.status == 0 && parent(href) == calendar && !strings.HasSuffix(href, "/") {
			out = append(out, Entry{href, strongETag(resp.text(propETag))})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list objects: %w", err)
	}
	slices.SortFunc(out, func(a, b Entry) int { return strings.Compare(a.Href, b.Href) })
	return slices.Compact(out), nil
}

// lookahead is how many chunks of a multiget are under way at once.
const lookahead = 3

// Multiget reads objects of a calendar, in chunks, of which a few are under way while the
// caller works. Objects that don't exist are left out, and the order is the server's. The
// iteration ends at the first error. An object that breaks the server's XML, or is missing
// its data, is read by itself, so that one bad object does not hide the others.
func (c *Client) Multiget(ctx context.Context, calendar string, hrefs []string) iter.Seq2[Object, error] {
	type result struct {
		objects []Object
		err     error
	}
	return func(yield func(Object, error) bool) {
		var wg sync.WaitGroup
		defer wg.Wait()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		chunks := slices.Collect(slices.Chunk(hrefs, c.server.chunk))
		var pending []chan result
		start := func() {
			if len(chunks) == 0 {
				return
			}
			chunk, out := chunks[0], make(chan result, 1)
			chunks, pending = chunks[1:], append(pending, out)
			wg.Go(func() {
				objects, err := c.multiget(ctx, calendar, chunk)
				out <- result{objects, err}
			})
		}
		for range lookahead {
			start()
		}
		for len(pending) > 0 {
			res := <-pending[0]
			pending = pending[1:]
			if res.err != nil {
				yield(Object{}, fmt.Errorf("multiget: %w", res.err))
				return
			}
			start()
			for _, obj := range res.objects {
				if !yield(obj, nil) {
					return
				}
			}
		}
	}
}

// multiget reads one chunk.
func (c *Client) multiget(ctx context.Context, calendar string, refs []string) ([]Object, error) {
	hrefs := make([]string, len(refs))
	for i, ref := range refs {
		href, err := Canonical(ref)
		if err != nil {
			return nil, err
		}
		hrefs[i] = href
	}
	var out []Object
	missing, err := c.ask(ctx, calendar, hrefs, true, func(href string, resp *response) bool {
		etag, data := strongETag(resp.text(propETag)), resp.prop(propData)
		if etag == "" || data == nil {
			return false
		}
		out = append(out, Object{href, etag, []byte(data.text)})
		return true
	})
	if errors.Is(err, ErrMalformed) || errors.Is(err, ErrTooLarge) {
		out, missing, err = nil, hrefs, nil
	}
	if err != nil {
		return nil, err
	}
	for _, href := range missing {
		obj, err := c.get(ctx, href)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, obj)
	}
	return out, nil
}

// ask sends one calendar-multiget (RFC 4791, section 7.9) and calls take for each object
// that exists and was asked for, once. It returns those that exist but that take did not
// want. The hrefs are canonical. Nextcloud leaves out what is missing, others say 404: both count as missing.
func (c *Client) ask(ctx context.Context, calendar string, hrefs []string, data bool, take func(href string, resp *response) bool) (left []string, err error) {
	calendar, err = Canonical(collection(calendar))
	if err != nil {
		return nil, err
	}
	props := []xml.Name{propETag}
	if data {
		props = append(props, propData)
	}
	w := newBody(caldav("calendar-multiget")).props(props...)
	want := make(map[string]bool, len(hrefs))
	for _, href := range hrefs {
		want[href] = true
		w.text(dav("href"), href)
	}
	err = c.report(ctx, calendar, w.bytes(), func(href string, resp *response) error {
		gone := resp.status == http.StatusNotFound || resp.status == http.StatusGone
		if !want[href] || gone {
			return nil
		}
		if resp.status != 0 && resp.status/100 != 2 {
			return &StatusError{Method: "REPORT", Href: href, Status: resp.status}
		}
		want[href] = false
		if !take(href, resp) {
			left = append(left, href)
		}
		return nil
	})
	return left, err
}

// FreeBusy returns the calendar's busy times between two instants as iCalendar with a
// VFREEBUSY (RFC 4791, section 7.10). Not every server has this report: Radicale answers
// with something else, which is an ErrMalformed.
func (c *Client) FreeBusy(ctx context.Context, calendar string, start, end time.Time) ([]byte, error) {
	const utc = "20060102T150405Z"
	calendar, err := Canonical(collection(calendar))
	var data []byte
	if err == nil {
		w := newBody(caldav("free-busy-query")).empty(caldav("time-range"),
			"start", start.UTC().Format(utc), "end", end.UTC().Format(utc))
		r := &request{method: "REPORT", href: calendar, header: xmlHeader("1"), body: w.bytes()}
		err = c.exchange(ctx, r, func(a *answer) (err error) {
			data, err = c.readCalendar(r, a)
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("free-busy: %w", err)
	}
	return data, nil
}
