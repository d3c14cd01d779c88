package caldav

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdure/perdure/internal/golden"
)

const (
	testServer = "https://cloud.example.org"
	testUser   = "alice"
	testSecret = "correct-horse-battery"
)

// TestDialogues plays recorded answers to the client, of a Nextcloud 32.0.2 where the archive
// names no other server. An archive has
// the calls to make, what they return, and the exchanges that have to take place, each as
// a request and its response. Of a request the first line is exact; a line of its head is
// a header that must be there, and a line of its body a text that must be in it; with "!"
// in front it must not. Time is synctest's.
func TestDialogues(t *testing.T) {
	golden.Archives(t, func(t *testing.T, a *golden.Archive) {
		synctest.Test(t, func(t *testing.T) { playDialogue(t, a) })
	})
}

func playDialogue(t *testing.T, a *golden.Archive) {
	if len(a.Comment) == 0 {
		t.Error("the archive does not say what it is about")
	}
	script := &script{t: t}
	for i := 1; ; i++ {
		request, found := a.Section(fmt.Sprintf("%d request", i))
		if !found {
			break
		}
		response, _ := a.Section(fmt.Sprintf("%d response", i))
		script.want = append(script.want, scripted{request, response})
	}
	c := newTestClient(t, script, nil)
	var got strings.Builder
	calls, _ := a.Section("calls")
	for line := range strings.Lines(calls) {
		fmt.Fprintf(&got, "> %s\n", strings.TrimSpace(line))
		call(t, c, &got, strings.Fields(line))
	}
	if n := len(script.want) - script.next; n > 0 {
		t.Errorf("%d of %d exchanges did not take place", n, len(script.want))
	}
	a.Want(t, "want", got.String())
}

// newTestClient returns a client whose requests go to a RoundTripper in this process.
func newTestClient(t *testing.T, rt http.RoundTripper, change func(*Options)) *Client {
	t.Helper()
	o := &Options{Credential: Credential{testUser, testSecret}, Transport: rt}
	if change != nil {
		change(o)
	}
	c, err := New(testServer, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// call makes one call of a script and prints what it returned.
func call(t *testing.T, c *Client, w io.Writer, words []string) {
	ctx := t.Context()
	arg := func(i int) string {
		if i < len(words) {
			return words[i]
		}
		return ""
	}
	var err error
	if words[0] == "quietly" {
		c, words = c.Quiet(), words[1:]
	}
	switch words[0] {
	case "discover":
		var home Home
		if home, err = c.Discover(ctx); err == nil {
			fmt.Fprintf(w, "principal %s\nsets %q\naddresses %q\nname %q\nfeatures %q\nserver %q keeps quiet %t\n",
				home.Principal, home.Sets, home.Addresses, home.DisplayName, home.Features, home.Server, home.KeepsQuiet())
		}
	case "calendars":
		var cals []Calendar
		if cals, err = c.ListCalendars(ctx, Home{Sets: words[1:]}); err == nil {
			fmt.Fprintf(w, "%d calendars\n", len(cals))
		}
		for _, cal := range cals {
			printCalendar(w, cal)
		}
	case "calendar":
		var cal Calendar
		if cal, err = c.GetCalendar(ctx, arg(1)); err == nil {
			printCalendar(w, cal)
		}
	case "version":
		var v Version
		if v, err = c.GetVersion(ctx, arg(1)); err == nil {
			fmt.Fprintf(w, "ctag %s token %s\n", v.CTag, v.SyncToken)
		}
	case "create-calendar":
		var cal Calendar
		if cal, err = c.CreateCalendar(ctx, arg(1), parseProps(t, words[2:])); err == nil {
			printCalendar(w, cal)
		}
	case "update-calendar":
		err = c.UpdateCalendar(ctx, arg(1), parseProps(t, words[2:]))
	case "delete-calendar":
		err = c.DeleteCalendar(ctx, arg(1))
	case "list":
		var entries []Entry
		if entries, err = c.ListObjects(ctx, arg(1), arg(2)); err == nil {
			printEntries(w, "object", entries)
		}
	case "multiget":
		for obj, e := range c.Multiget(ctx, arg(1), words[2:]) {
			if err = e; err == nil {
				printObject(w, obj)
			}
		}
	case "sync":
		var d Delta
		if d, err = c.Sync(ctx, arg(1), arg(2)); err == nil {
			printEntries(w, "changed", d.Changed)
			fmt.Fprintf(w, "removed %q\ntoken %s\n", d.Removed, d.Token)
		}
	case "get":
		err = printing(w)(c.GetObject(ctx, arg(1)))
	case "create":
		err = printing(w)(c.CreateObject(ctx, arg(1), []byte(arg(2))))
	case "update":
		err = printing(w)(c.UpdateObject(ctx, arg(1), arg(2), []byte(arg(3))))
	case "delete":
		err = c.DeleteObject(ctx, arg(1), arg(2))
	case "freebusy":
		var data []byte
		if data, err = c.FreeBusy(ctx, arg(1), parseTime(t, arg(2)), parseTime(t, arg(3))); err == nil {
			fmt.Fprintf(w, "%s", data)
		}
	default:
		t.Fatalf("unknown call %q", words[0])
	}
	printError(w, err)
}

func printing(w io.Writer) func(Object, error) error {
	return func(obj Object, err error) error {
		if err == nil {
			printObject(w, obj)
		}
		return err
	}
}

func printObject(w io.Writer, obj Object) {
	fmt.Fprintf(w, "object %s etag %s\n", obj.Href, obj.ETag)
	for line := range strings.Lines(string(obj.Data)) {
		fmt.Fprintf(w, "  %s\n", strings.TrimRight(line, "\r\n"))
	}
}

func printEntries(w io.Writer, what string, entries []Entry) {
	for _, e := range entries {
		fmt.Fprintf(w, "%s %s etag %s\n", what, e.Href, e.ETag)
	}
}

func printCalendar(w io.Writer, cal Calendar) {
	fmt.Fprintf(w, "calendar %s\n  name %q color %q order %d ctag %s token %s\n", cal.Href, cal.DisplayName, cal.Color, cal.Order, cal.CTag, cal.SyncToken)
	fmt.Fprintf(w, "  components %q max %d transparent %t\n", cal.Components, cal.MaxSize, cal.Transparent)
	fmt.Fprintf(w, "  owner %s %q %s read-only %t shared %t\n", cal.Owner, cal.OwnerName, cal.OwnerID, cal.ReadOnly(), cal.SharedToMe)
	fmt.Fprintf(w, "  privileges %q\n  invites %+v\n", cal.Privileges, cal.Invites)
	if cal.Category != "" || cal.FocusPriority != 0 || cal.Timezone != "" {
		fmt.Fprintf(w, "  category %q priority %d timezone %.40q\n", cal.Category, cal.FocusPriority, cal.Timezone)
	}
}

// printError prints an error with all that errors.Is finds in it.
func printError(w io.Writer, err error) {
	if err == nil {
		fmt.Fprintln(w, "ok")
		return
	}
	fmt.Fprintf(w, "error: %v\n", err)
	for _, known := range []error{
		ErrUnauthorized, ErrForbidden, ErrReadOnly, ErrNotFound, ErrExists, ErrConflict, ErrPreconditionFailed, ErrUIDConflict,
		ErrInvalid, ErrLocked, ErrQuota, ErrRateLimited, ErrUnavailable, ErrServer, ErrSyncTokenInvalid, ErrSyncUnsupported,
		ErrNotCalDAV, ErrTooLarge, ErrMalformed, ErrInsecureHTTP,
	} {
		if errors.Is(err, known) {
			fmt.Fprintf(w, "  is %v\n", known)
		}
	}
	var status *StatusError
	if errors.As(err, &status) && status.ETag != "" {
		fmt.Fprintf(w, "  now %s\n", status.ETag)
	}
}

func parseProps(t *testing.T, words []string) Props {
	var p Props
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		number, _ := strconv.Atoi(value)
		switch key {
		case "name":
			p.DisplayName = &value
		case "description":
			p.Description = &value
		case "color":
			p.Color = &value
		case "timezone":
			p.Timezone = &value
		case "order":
			p.Order = &number
		case "transparent":
			p.Transparent = new(value == "true")
		case "category":
			p.Category = &value
		case "priority":
			p.FocusPriority = &number
		case "components":
			p.Components = strings.Split(value, ",")
		default:
			t.Fatalf("unknown property %q", key)
		}
	}
	return p
}

func parseTime(t *testing.T, s string) time.Time {
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

type scripted struct{ request, response string }

// script is a server that expects requests one after the other.
type script struct {
	t    *testing.T
	mu   sync.Mutex // guards next
	want []scripted
	next int
}

func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next >= len(s.want) {
		s.t.Errorf("unexpected request %s %s", req.Method, req.URL.EscapedPath())
		return nil, errors.New("no answer")
	}
	x := s.want[s.next]
	s.next++
	body, _ := io.ReadAll(req.Body)
	if err := x.check(req, string(body)); err != nil {
		s.t.Errorf("exchange %d: %v", s.next, err)
	}
	return x.answer(req)
}

func (x *scripted) check(req *http.Request, body string) error {
	head, texts, _ := strings.Cut(x.request, "\n\n")
	lines := strings.Split(strings.TrimSpace(head), "\n")
	if got := req.Method + " " + req.URL.EscapedPath(); got != lines[0] {
		return fmt.Errorf("got %s, want %s", got, lines[0])
	}
	if got := req.URL.Scheme + "://" + req.URL.Host; got != testServer {
		return fmt.Errorf("request to %s", got)
	}
	if user, password, _ := req.BasicAuth(); user != testUser || password != testSecret {
		return fmt.Errorf("credential %q %q", user, password)
	}
	if req.Header.Get("Cookie") != "" {
		return errors.New("a cookie was sent")
	}
	var headers strings.Builder
	req.Header.Write(&headers)
	all := strings.ReplaceAll(headers.String(), "\r", "")
	for _, line := range lines[1:] {
		if err := contains("headers", all, line); err != nil {
			return err
		}
	}
	for line := range strings.SplitSeq(texts, "\n") {
		if err := contains("body", body, line); err != nil {
			return err
		}
	}
	return nil
}

func contains(what, text, line string) error {
	if not, ok := strings.CutPrefix(line, "!"); ok {
		if strings.Contains(text, not) {
			return fmt.Errorf("%s with %q:\n%s", what, not, text)
		}
		return nil
	}
	if !strings.Contains(text, line) {
		return fmt.Errorf("%s without %q:\n%s", what, line, text)
	}
	return nil
}

func (x *scripted) answer(req *http.Request) (*http.Response, error) {
	head, body, _ := strings.Cut(x.response, "\n\n")
	first, rest, _ := strings.Cut(head, "\n")
	status, err := strconv.Atoi(strings.Fields(first)[1])
	if err != nil {
		return nil, err
	}
	resp := newResponseTo(req, status, body)
	for line := range strings.SplitSeq(rest, "\n") {
		if key, value, ok := strings.Cut(line, ": "); ok {
			resp.Header.Add(key, value)
		}
	}
	resp.Header.Add("Set-Cookie", "oc_session=1; path=/") // as Nextcloud always does
	return resp, nil
}

// newResponseTo makes an answer in memory.
func newResponseTo(req *http.Request, status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: req,
	}
}

// roundTripper is a server in this process.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		defer req.Body.Close()
	}
	if err := context.Cause(req.Context()); err != nil {
		return nil, err
	}
	return f(req)
}
