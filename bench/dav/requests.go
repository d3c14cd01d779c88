package main

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/perdure/perdure/bench/internal/report"
)

const namespaces = `xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:CS="http://calendarserver.org/ns/"`

const (
	ctagBody    = `<D:propfind ` + namespaces + `><D:prop><CS:getctag/></D:prop></D:propfind>`
	etagsBody   = `<D:propfind ` + namespaces + `><D:prop><D:getetag/></D:prop></D:propfind>`
	icalSeconds = "20060102T150405Z"
)

func syncBody(token string) string {
	return `<D:sync-collection ` + namespaces + `><D:sync-token>` + token + `</D:sync-token><D:sync-level>1</D:sync-level><D:prop><D:getetag/></D:prop></D:sync-collection>`
}

func (b *bench) weekBody() string {
	from, to := b.week()
	return `<C:calendar-query ` + namespaces + `><D:prop><D:getetag/><C:calendar-data/></D:prop><C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT">` +
		`<C:time-range start="` + from.Format(icalSeconds) + `" end="` + to.Format(icalSeconds) + `"/></C:comp-filter></C:comp-filter></C:filter></C:calendar-query>`
}

func (b *bench) multigetBody(s *server, n int) string {
	var hrefs strings.Builder
	for i := range n {
		hrefs.WriteString("<D:href>" + s.calendar + eventName(i*37%b.events) + "</D:href>")
	}
	return `<C:calendar-multiget ` + namespaces + `><D:prop><D:getetag/><C:calendar-data/></D:prop>` + hrefs.String() + `</C:calendar-multiget>`
}

var syncToken = regexp.MustCompile(`sync-token>([^<]+)</`)

// requests measures servers on the same requests.
func (b *bench) requests(ctx context.Context) error {
	before, now := make(map[*server]string), make(map[*server]string)
	for _, s := range b.servers {
		var err error
		if before[s], err = s.token(ctx); err != nil {
			return err
		}
		for i := range 20 {
			if err := s.put(ctx, i*5, 1); err != nil {
				return err
			}
		}
		if now[s], err = s.token(ctx); err != nil {
			return err
		}
	}
	same := func(body string) func(*server, int) string { return func(*server, int) string { return body } }
	columns := []string{"Answers"}
	for _, s := range b.servers {
		columns = append(columns, s.name)
	}
	if len(b.servers) > 1 {
		columns = append(columns, "ratio")
	}
	t := report.NewTable("Servers, over loopback", "Request", columns...)
	for _, r := range []struct {
		name, method, object, depth string
		body                        func(s *server, round int) string
	}{
		{"PROPFIND, ctag", "PROPFIND", "", "0", same(ctagBody)},
		{"PROPFIND, all entity tags", "PROPFIND", "", "1", same(etagsBody)},
		{"calendar-query, one week with data", "REPORT", "", "1", same(b.weekBody())},
		{"calendar-multiget, 100", "REPORT", "", "1", func(s *server, _ int) string { return b.multigetBody(s, 100) }},
		{"sync-collection, initial", "REPORT", "", "0", same(syncBody(""))},
		{"sync-collection, 20 changed", "REPORT", "", "0", func(s *server, _ int) string { return syncBody(before[s]) }},
		{"sync-collection, nothing changed", "REPORT", "", "0", func(s *server, _ int) string { return syncBody(now[s]) }},
		{"GET", "GET", eventName(b.events / 2), "", same("")},
		{"PUT, a new version", "PUT", eventName(b.events / 2), "", func(_ *server, round int) string { return eventData(b.events/2, round+2) }},
	} {
		var calls []func(round int) error
		answers := make([]int, len(b.servers))
		for i, s := range b.servers {
			calls = append(calls, func(round int) error {
				a, err := s.send(ctx, r.method, s.calendar+r.object, r.depth, r.body(s, round))
				answers[i] = a.responses
				return err
			})
		}
		medians, err := alternate(b.rounds, calls)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		cells := []string{counts(answers)}
		for _, d := range medians {
			cells = append(cells, milliseconds(d))
		}
		if len(medians) > 1 {
			cells = append(cells, times(medians[1], medians[0]))
		}
		t.Row(r.name, cells...)
	}
	return t.Print(b.out)
}

// token is the calendar's sync token.
func (s *server) token(ctx context.Context) (string, error) {
	a, err := s.send(ctx, "REPORT", s.calendar, "0", syncBody(""))
	if err != nil {
		return "", err
	}
	m := syncToken.FindSubmatch(a.body)
	if m == nil {
		return "", fmt.Errorf("%s gives no sync token: %.300s", s.name, a.body)
	}
	return string(m[1]), nil
}

// counts is one number if all agree.
func counts(list []int) string {
	var words []string
	differ := false
	for _, n := range list {
		differ = differ || n != list[0]
		words = append(words, strconv.Itoa(n))
	}
	if !differ {
		words = words[:1]
	}
	return strings.Join(words, " / ")
}
