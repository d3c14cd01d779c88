package nextcloud

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/perdure/perdure/calendar/caldav"
)

// noTrash is the header with which a DELETE of a calendar passes the trash. It has no
// effect on single objects.
const noTrash = "X-NC-CalDAV-No-Trashbin"

// Server is a Nextcloud as one user sees it. It may be used by several goroutines at once.
type Server struct {
	c    *caldav.Client
	root string
}

// New returns the server of a client, installed under the path root, which [Root] finds.
func New(c *caldav.Client, root string) *Server { return &Server{c, strings.TrimRight(root, "/")} }

// Root returns the path under which Nextcloud is installed, "" for a server's root, from
// an href such as that of a principal, or from the path that a user typed.
func Root(href string) string {
	for _, part := range []string{"/remote.php", "/index.php", "/ocs"} {
		if before, after, found := strings.Cut(href, part); found && (after == "" || after[0] == '/') {
			return before
		}
	}
	if strings.Contains(href, "/principals/") {
		return ""
	}
	return strings.TrimRight(href, "/")
}

// HasTrash says whether a home's deleted calendars and objects go into a trash.
func HasTrash(home caldav.Home) bool {
	return slices.Contains(home.Features, "nc-calendar-trashbin")
}

// Status is what the server tells everybody.
type Status struct {
	Installed   bool   `json:"installed"`
	Maintenance bool   `json:"maintenance"`
	Upgrade     bool   `json:"needsDbUpgrade"`
	Version     string `json:"version"` // such as 32.0.2.2
	Product     string `json:"productname"`
}

// Status asks for the server's state, without a credential. It answers in maintenance too.
func (s *Server) Status(ctx context.Context) (Status, error) {
	var st Status
	resp, err := s.c.As(caldav.Credential{}).Do(ctx, caldav.Request{Method: http.MethodGet, Href: s.root + "/status.php"})
	if err == nil {
		err = decode(resp.Body, &st)
	}
	if err == nil && st.Version == "" {
		err = fmt.Errorf("%w: not Nextcloud's answer", caldav.ErrMalformed)
	}
	if err != nil {
		return Status{}, fmt.Errorf("nextcloud status: %w", err)
	}
	return st, nil
}

// User is the user whose credential the client has.
type User struct {
	ID          string `json:"id"` // not always the login name
	DisplayName string `json:"displayname"`
	Email       string `json:"email"`
}

// User asks who the user is.
func (s *Server) User(ctx context.Context) (User, error) {
	var u User
	if err := s.ocs(ctx, http.MethodGet, "/cloud/user", &u); err != nil {
		return User{}, fmt.Errorf("nextcloud user: %w", err)
	}
	if u.ID == "" {
		return User{}, fmt.Errorf("nextcloud user: %w: no id", caldav.ErrMalformed)
	}
	return u, nil
}

// Capabilities is what the server and its apps can do. It says nothing of CalDAV: that is
// in a caldav.Home's Features.
type Capabilities struct {
	Version string // such as 32.0.2
	Apps    map[string]json.RawMessage

	// Throttled is how long the server now delays requests from this address because of
	// failed logins; AllowListed says that it never does.
	Throttled   time.Duration
	AllowListed bool
}

// Capabilities asks for them.
func (s *Server) Capabilities(ctx context.Context) (Capabilities, error) {
	var data struct {
		Version struct {
			String string `json:"string"`
		} `json:"version"`
		Capabilities map[string]json.RawMessage `json:"capabilities"`
	}
	if err := s.ocs(ctx, http.MethodGet, "/cloud/capabilities", &data); err != nil {
		return Capabilities{}, fmt.Errorf("nextcloud capabilities: %w", err)
	}
	out := Capabilities{Version: data.Version.String, Apps: data.Capabilities}
	var force struct {
		Delay       int64 `json:"delay"` // milliseconds
		AllowListed bool  `json:"allow-listed"`
	}
	if raw, ok := data.Capabilities["bruteforce"]; ok && json.Unmarshal(raw, &force) == nil {
		out.Throttled = time.Duration(max(0, min(force.Delay, 1<<20))) * time.Millisecond
		out.AllowListed = force.AllowListed
	}
	return out, nil
}

// RevokeAppPassword makes the app password of the client's credential void. With a login
// password it is caldav.ErrForbidden.
func (s *Server) RevokeAppPassword(ctx context.Context) error {
	if err := s.ocs(ctx, http.MethodDelete, "/core/apppassword", nil); err != nil {
		return fmt.Errorf("revoke app password: %w", err)
	}
	return nil
}

// PurgeCalendar deletes a calendar for good, be it in the trash or not. Its name is free
// afterwards.
func (s *Server) PurgeCalendar(ctx context.Context, href string) error {
	_, err := s.c.Do(ctx, caldav.Request{Method: http.MethodDelete, Href: href, Header: http.Header{noTrash: {"1"}}})
	if err != nil {
		return fmt.Errorf("purge calendar: %w", err)
	}
	return nil
}

// ocs calls Nextcloud's own interface and decodes the data of its answer; nil ignores it.
func (s *Server) ocs(ctx context.Context, method, path string, data any) error {
	resp, err := s.c.Do(ctx, caldav.Request{
		Method: method,
		Href:   s.root + "/ocs/v2.php" + path,
		Query:  "format=json",
		Header: http.Header{"OCS-APIRequest": {"true"}, "Accept": {"application/json"}},
	})
	if err != nil {
		return err
	}
	var answer struct {
		OCS struct {
			Meta struct {
				Status string `json:"status"`
			} `json:"meta"`
			Data json.RawMessage `json:"data"`
		} `json:"ocs"`
	}
	if err := decode(resp.Body, &answer); err != nil {
		return err
	}
	if answer.OCS.Meta.Status != "ok" {
		return fmt.Errorf("%w: OCS says no", caldav.ErrMalformed)
	}
	if data == nil {
		return nil
	}
	return decode(answer.OCS.Data, data)
}

// decode reads JSON; its errors quote nothing.
func decode(raw []byte, to any) error {
	if err := json.Unmarshal(raw, to); err != nil {
		return fmt.Errorf("%w: not the JSON expected", caldav.ErrMalformed)
	}
	return nil
}
