package davserver

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/durable/durabletest"
	"github.com/perdure/perdure/internal/golden"
)

// TestDialogues sends the requests of each archive to a server of its own and compares
// the answers. A request is a request line, headers, an empty line and a body. {{tokenN}} is
// the sync token in answer N. Lines end in CRLF where the archive says \r. Time is synctest's.
func TestDialogues(t *testing.T) {
	golden.Archives(t, func(t *testing.T, a *golden.Archive) {
		synctest.Test(t, func(t *testing.T) { playDialogue(t, a) })
	})
}

var (
	tokenPattern = regexp.MustCompile(regexp.QuoteMeta(tokenPrefix) + `[0-9a-f]{16}:[0-9A-Za-z_:-]+`)
	tokenID      = regexp.MustCompile(regexp.QuoteMeta(tokenPrefix) + `[0-9a-f]{16}`)
	tokenUse     = regexp.MustCompile(`\{\{token\d+\}\}`)
)

func playDialogue(t *testing.T, a *golden.Archive) {
	if len(a.Comment) == 0 {
		t.Error("the archive does not say what it is about")
	}
	srv := newTestServer(t, nil)
	tokens := make(map[string]string)
	for _, f := range slices.Clone(a.Files) {
		n, isRequest := strings.CutSuffix(f.Name, " request")
		if !isRequest {
			continue
		}
		text, _ := a.Section(f.Name)
		text = tokenUse.ReplaceAllStringFunc(text, func(use string) string { return tokens[use] })
		w := srv.do(parseRequest(t, text))
		body := w.Body.String()
		if token := tokenPattern.FindString(body); token != "" {
			tokens["{{token"+n+"}}"] = token
		}
		a.Want(t, n+" response", showResponse(w.Code, w.Header(), body))
	}
}

func parseRequest(t *testing.T, text string) *http.Request {
	t.Helper()
	head, body, _ := strings.Cut(text, "\n\n")
	body = strings.TrimSuffix(body, "\n")
	if strings.HasSuffix(body, `\r`) {
		body += "\n"
	}
	body = strings.ReplaceAll(body, `\r`, "\r")
	lines := strings.Split(strings.TrimSpace(head), "\n")
	method, path, ok := strings.Cut(lines[0], " ")
	if !ok {
		t.Fatalf("request line %q", lines[0])
	}
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body == "" {
		r.Body = http.NoBody
	}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		r.Header.Add(name, strings.TrimSpace(value))
	}
	return r
}

func showResponse(code int, h http.Header, body string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s\n", code, http.StatusText(code))
	names := make([]string, 0, len(h))
	for name := range h {
		if name != "Content-Length" {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Fprintf(&b, "%s: %s\n", name, strings.Join(h[name], ", "))
	}
	b.WriteString("\n")
	body = tokenID.ReplaceAllString(body, tokenPrefix+"ID")
	b.WriteString(strings.ReplaceAll(body, "\r", `\r`))
	if !strings.HasSuffix(body, "\n") && body != "" {
		b.WriteString("\n")
	}
	return b.String()
}

// testServer is a server in a test, and the user that its requests come from.
type testServer struct {
	*Server
	t    testing.TB
	rt   *durabletest.Runtime
	opts *Options
	user User
}

func newTestServer(t testing.TB, opts *Options) *testServer {
	t.Helper()
	rt := durabletest.New(t, &durable.Options{Classes: Classes()})
	return &testServer{Server: New(rt.Runtime, opts), t: t, rt: rt, opts: opts, user: User{ID: "u1", Name: "alice"}}
}

// crash takes the power away and goes on with what was durable.
func (s *testServer) crash() {
	s.t.Helper()
	s.rt.Crash()
	s.Server = New(s.rt.Runtime, s.opts)
}

func (s *testServer) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r.WithContext(WithUser(r.Context(), s.user)))
	return w
}

// send sends a request; header is name, value, name, value.
func (s *testServer) send(method, path, body string, header ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return s.do(r)
}

// must is send for requests that have to be answered with a status.
func (s *testServer) must(code int, method, path, body string, header ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	w := s.send(method, path, body, header...)
	if w.Code != code {
		s.t.Fatalf("%s %s = %d, want %d\n%s", method, path, w.Code, code, w.Body)
	}
	return w
}

func (s *testServer) stub(name string) *durable.Stub {
	s.t.Helper()
	stub, err := s.calendar(context.Background(), s.user, name)
	if err != nil {
		s.t.Fatalf("calendar(%q): %v", name, err)
	}
	return stub
}
