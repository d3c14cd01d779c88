package nextcloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/perdure/perdure/calendar/caldav"
)

const server = "https://cloud.example.org"

// handler is a Nextcloud in this process.
type handler func(req *http.Request, body string) (status int, answer string)

func (h handler) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	body, _ := io.ReadAll(req.Body)
	status, answer := h(req, string(body))
	if status == 0 {
		return nil, errors.New("connection reset")
	}
	header := http.Header{}
	if status == http.StatusServiceUnavailable {
		header.Set("Retry-After", "60")
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(answer)), Request: req}, nil
}

func newClient(t *testing.T, address string, h handler) *caldav.Client {
	t.Helper()
	c, err := caldav.New(address, &caldav.Options{
		Transport: h, UserAgent: "Perdure on testhost", Credential: caldav.Credential{Username: "alice", Password: "s3cret-app"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// flowServer answers polls with the given statuses, one after the other, then with the
// grant.
func flowServer(t *testing.T, root string, polls ...int) handler {
	return func(req *http.Request, body string) (int, string) {
		if req.Header.Get("Authorization") != "" {
			t.Error("a credential was sent")
		}
		if req.Header.Get("User-Agent") != "Perdure on testhost" || req.Method != http.MethodPost {
			t.Errorf("%s by %q", req.Method, req.Header.Get("User-Agent"))
		}
		switch req.URL.Path {
		case root + "/index.php/login/v2":
			return 200, fmt.Sprintf(`{"poll":{"token":"tok+en","endpoint":"%[1]s/login/v2/poll"},"login":"%[1]s/login/v2/flow/abc"}`, server+root)
		case root + "/login/v2/poll":
			if body != "token=tok%2Ben" {
				t.Errorf("poll with %q", body)
			}
			if len(polls) > 0 {
				status := polls[0]
				polls = polls[1:]
				return status, `[]`
			}
			return 200, `{"server":"` + server + root + `","loginName":"alice@example.org","appPassword":"s3cret-app"}`
		}
		t.Errorf("unexpected %s", req.URL)
		return 500, ""
	}
}

func TestLogin(t *testing.T) {
	for _, tt := range []struct {
		address, root string
		polls         []int
		took          time.Duration
	}{
		{server, "", []int{404, 404, 404}, 6 * time.Second},
		{server + "/cloud/remote.php/dav/", "/cloud", []int{404, 0, 404}, 6 * time.Second},
		{server + "/cloud/", "/cloud", []int{429, 503, 404}, 30*time.Second + time.Minute + 2*time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			flow, err := Start(t.Context(), newClient(t, tt.address, flowServer(t, tt.root, tt.polls...)))
			if err != nil {
				t.Fatal(err)
			}
			if want := server + tt.root + "/login/v2/flow/abc"; flow.Page != want {
				t.Errorf("page is %s, want %s", flow.Page, want)
			}
			got, err := flow.Wait(t.Context())
			want := Grant{server + tt.root, caldav.Credential{Username: "alice@example.org", Password: "s3cret-app"}}
			if err != nil || got != want {
				t.Errorf("Wait = %+v, %v, want %+v", got, err, want)
			}
			if took := time.Since(start); took != tt.took {
				t.Errorf("took %v, want %v", took, tt.took)
			}
			for _, text := range []string{fmt.Sprint(got), fmt.Sprintf("%+v %#v", got, got)} {
				if strings.Contains(text, "s3cret") {
					t.Errorf("password in %q", text)
				}
			}
		})
	}
}

func TestLoginEnds(t *testing.T) {
	never := func(req *http.Request, body string) (int, string) {
		if strings.HasSuffix(req.URL.Path, "poll") {
			return 404, "[]"
		}
		return 200, `{"poll":{"token":"t","endpoint":"/poll"},"login":"/flow"}`
	}
	synctest.Test(t, func(t *testing.T) {
		flow, err := Start(t.Context(), newClient(t, server, never))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := flow.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait with a deadline = %v", err)
		}
		start := time.Now()
		if _, err := flow.Wait(t.Context()); !errors.Is(err, ErrExpired) || time.Since(start) > 20*time.Minute {
			t.Errorf("Wait = %v after %v, want ErrExpired", err, time.Since(start))
		}
	})
}

// TestLoginOrigin: none of the three addresses that the server names may be elsewhere.
func TestLoginOrigin(t *testing.T) {
	const evil = "https://evil.example"
	for _, tt := range []struct{ kind, poll, page, server string }{
		{"poll endpoint", evil, server, server},
		{"login page", server, evil, server},
		{"server", server, server, evil},
		{"poll endpoint", "http://cloud.example.org", server, server},
		{"server", server, server, "https://cloud.example.org:8443"},
	} {
		c := newClient(t, server, func(req *http.Request, body string) (int, string) {
			if req.URL.Scheme+"://"+req.URL.Host != server {
				t.Errorf("request to %s", req.URL)
			}
			if req.URL.Path == "/poll" {
				return 200, `{"server":"` + tt.server + `","loginName":"a","appPassword":"s3cret-app"}`
			}
			return 200, `{"poll":{"token":"t","endpoint":"` + tt.poll + `/poll"},"login":"` + tt.page + `/flow"}`
		})
		flow, err := Start(t.Context(), c)
		if err == nil {
			_, err = flow.Wait(t.Context())
		}
		var away *caldav.OriginError
		if !errors.As(err, &away) || away.Kind != tt.kind || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%+v: %v, want an OriginError", tt, err)
		}
	}
}

func TestLoginNonsense(t *testing.T) {
	for _, body := range []string{"", "<html>", "{}", `{"poll":{"token":"t"},"login":"/x"}`, `{"poll":{"token":"t","endpoint":"/p?x"},"login":"/x"}`} {
		_, err := Start(t.Context(), newClient(t, server, func(*http.Request, string) (int, string) { return 200, body }))
		if !errors.Is(err, caldav.ErrMalformed) {
			t.Errorf("Start with %q = %v, want ErrMalformed", body, err)
		}
	}
	_, err := Start(t.Context(), newClient(t, server, func(*http.Request, string) (int, string) { return 404, "" }))
	if !errors.Is(err, caldav.ErrNotFound) {
		t.Errorf("Start without a Nextcloud = %v, want ErrNotFound", err)
	}
}

func TestServer(t *testing.T) {
	var requests []string
	answers := map[string]string{
		"/cloud/status.php":                     `{"installed":true,"maintenance":true,"needsDbUpgrade":false,"version":"32.0.2.2","versionstring":"32.0.2","edition":"","productname":"Nextcloud"}`,
		"/cloud/ocs/v2.php/cloud/user":          `{"ocs":{"meta":{"status":"ok","statuscode":200},"data":{"id":"alice","displayname":"Alice","email":"alice@example.org"}}}`,
		"/cloud/ocs/v2.php/cloud/capabilities":  `{"ocs":{"meta":{"status":"ok"},"data":{"version":{"string":"32.0.2"},"capabilities":{"dav":{"chunking":"1.0"},"bruteforce":{"delay":200,"allow-listed":true}}}}}`,
		"/cloud/ocs/v2.php/core/apppassword":    `{"ocs":{"meta":{"status":"ok"},"data":[]}}`,
		"/cloud/remote.php/dav/calendars/a/x y": ``,
	}
	c := newClient(t, server+"/cloud", func(req *http.Request, body string) (int, string) {
		user, _, _ := req.BasicAuth()
		requests = append(requests, strings.TrimSpace(fmt.Sprintf("%s %s %q %s%s", req.Method, req.URL.RequestURI(), user,
			req.Header.Get("OCS-APIRequest"), req.Header.Get(noTrash))))
		answer, ok := answers[strings.TrimSuffix(req.URL.Path, "/")]
		if !ok {
			return 404, ""
		}
		return 200, answer
	})
	s := New(c, Root("/cloud/remote.php/dav/principals/users/alice/"))
	ctx := t.Context()
	if got, err := s.Status(ctx); err != nil || got != (Status{true, true, false, "32.0.2.2", "Nextcloud"}) {
		t.Errorf("Status = %+v, %v", got, err)
	}
	if got, err := s.User(ctx); err != nil || got != (User{"alice", "Alice", "alice@example.org"}) {
		t.Errorf("User = %+v, %v", got, err)
	}
	if got, err := s.Capabilities(ctx); err != nil || got.Version != "32.0.2" || got.Throttled != 200*time.Millisecond || !got.AllowListed || len(got.Apps) != 2 {
		t.Errorf("Capabilities = %+v, %v", got, err)
	}
	if err := s.PurgeCalendar(ctx, "/cloud/remote.php/dav/calendars/a/x%20y/"); err != nil {
		t.Errorf("PurgeCalendar = %v", err)
	}
	if err := s.RevokeAppPassword(ctx); err != nil {
		t.Errorf("RevokeAppPassword = %v", err)
	}
	want := []string{
		`GET /cloud/status.php ""`,
		`GET /cloud/ocs/v2.php/cloud/user?format=json "alice" true`,
		`GET /cloud/ocs/v2.php/cloud/capabilities?format=json "alice" true`,
		`DELETE /cloud/remote.php/dav/calendars/a/x%20y/ "alice" 1`,
		`DELETE /cloud/ocs/v2.php/core/apppassword?format=json "alice" true`,
	}
	if diff := cmp.Diff(want, requests); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	answers["/cloud/ocs/v2.php/cloud/user"] = `{"ocs":{"meta":{"status":"failure"},"data":{"id":"alice"}}}`
	if _, err := s.User(ctx); !errors.Is(err, caldav.ErrMalformed) {
		t.Errorf("User with a failure = %v, want ErrMalformed", err)
	}
	answers["/cloud/status.php"] = "<html>"
	if _, err := s.Status(ctx); !errors.Is(err, caldav.ErrMalformed) {
		t.Errorf("Status with a page = %v, want ErrMalformed", err)
	}
}

func TestRoot(t *testing.T) {
	for href, want := range map[string]string{
		"": "", "/": "", "/cloud/": "/cloud", "/remote.php/dav/principals/users/a/": "", "/cloud/remote.php/dav": "/cloud",
		"/cloud/index.php": "/cloud", "/principals/users/a/": "", "/remote.phpx": "/remote.phpx",
	} {
		if got := Root(href); got != want {
			t.Errorf("Root(%q) = %q, want %q", href, got, want)
		}
	}
	if !HasTrash(caldav.Home{Features: []string{"1", "nc-calendar-trashbin"}}) || HasTrash(caldav.Home{}) {
		t.Error("HasTrash is wrong")
	}
}
