package caldav

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// multigetServer answers with the objects asked for, a second later, and counts.
type multigetServer struct {
	mu                            sync.Mutex // guards what follows
	requests, running, most, size int
	fail                          int // the request that fails
}

func (s *multigetServer) RoundTrip(req *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(req.Body)
	var answer strings.Builder
	parts := strings.Split(string(body), "<d:href>")[1:]
	for _, part := range parts {
		href, _, _ := strings.Cut(part, "<")
		fmt.Fprintf(&answer, `<d:response><d:href>%s</d:href><d:propstat><d:prop><d:getetag>"1"</d:getetag><c:calendar-data>x</c:calendar-data></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>`, href)
	}
	s.mu.Lock()
	s.requests++
	s.running++
	s.most, s.size = max(s.most, s.running), max(s.size, len(parts))
	fail := s.requests == s.fail
	s.mu.Unlock()
	select {
	case <-time.After(time.Second):
	case <-req.Context().Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	if fail {
		return newResponseTo(req, 500, ""), nil
	}
	return newResponseTo(req, 207, multi(answer.String())), nil
}

// TestMultigetChunks: chunks of a hundred, a few at a time, and an end where the caller or
// a server ends it. The bubble sees goroutines that stay.
func TestMultigetChunks(t *testing.T) {
	var hrefs []string
	for i := range 950 {
		hrefs = append(hrefs, fmt.Sprintf("%s%d.ics", calHref, i))
	}
	broken := errors.New("enough")
	for _, tt := range []struct {
		name               string
		stop, fail         int // after so many objects; at this request
		objects, mostAsked int
		err                error
		took               time.Duration
	}{
		{"all", 0, 0, 950, 10, nil, 4 * time.Second},
		{"caller stops", 150, 0, 150, 5, broken, time.Second},
		{"server fails", 0, 2, 100, 5, ErrServer, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := &multigetServer{fail: tt.fail}
				c := newTestClient(t, srv, nil)
				c.account.saw("PROPFIND", 207) // proven
				start := time.Now()
				got := 0
				var err error
				for obj, e := range c.Multiget(t.Context(), calHref, hrefs) {
					if err = e; err != nil {
						continue
					}
					if got++; obj.ETag != `"1"` || string(obj.Data) != "x" {
						t.Errorf("object %+v", obj)
					}
					if got == tt.stop {
						err = broken
						break
					}
				}
				if !errors.Is(err, tt.err) {
					t.Errorf("ended with %v, want %v", err, tt.err)
				}
				if tt.fail == 0 && got != tt.objects {
					t.Errorf("%d objects, want %d", got, tt.objects)
				}
				if srv.requests > tt.mostAsked || srv.most > lookahead || srv.size > 100 {
					t.Errorf("%d requests, %d at a time, of %d objects", srv.requests, srv.most, srv.size)
				}
				srv.mu.Lock()
				if srv.running != 0 {
					t.Errorf("%d requests are left running", srv.running)
				}
				srv.mu.Unlock()
				if took := time.Since(start); took != tt.took {
					t.Errorf("took %v, want %v with %d at a time", took, tt.took, lookahead)
				}
			})
		})
	}
	for range newTestClient(t, roundTripper(nil), nil).Multiget(t.Context(), calHref, nil) {
		t.Error("something came of nothing")
	}
}
