package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/calendar/accounts"
)

// TestLogout gives passwords back to a Nextcloud in every mood.
func TestLogout(t *testing.T) {
	var asked []string
	var b *bed
	status := http.StatusOK
	nc := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		asked = append(asked, fmt.Sprint(r.Method, " ", r.URL.Path, " ", user, " ", password))
		if _, err := b.accounts.Credential(r.Context(), accounts.Me); !errors.Is(err, accounts.ErrNoCredential) {
			t.Errorf("the password is made void while it may still be used: %v", err)
		}
		w.WriteHeader(status)
		fmt.Fprint(w, `{"ocs":{"meta":{"status":"ok","statuscode":200},"data":[]}}`)
	}))
	defer nc.Close()
	b = newBed(t, Options{})
	ctx := t.Context()
	login := func(server string) {
		t.Helper()
		body := fmt.Sprintf(`{"server":%q,"username":"me@nc","password":"p4ss","insecureHTTP":true}`, server)
		if code, text := b.control("PUT", "/users/me/credential", body); code != 200 {
			t.Fatalf("PUT = %d %s", code, text)
		}
		if code, text := b.control("GET", "/users/me/credential", ""); code != 200 || text != fmt.Sprintf(`{"server":%q,"username":"me@nc"}`+"\n", server) {
			t.Errorf("GET = %d %s, want server and name alone", code, text)
		}
		b.news.quiet()
	}
	told := make(chan calendar.Change, 10)
	b.news.deliver = func(_ context.Context, from source, c calendar.Change) error {
		told <- c
		return nil
	}
	logout := func(query, want string) {
		t.Helper()
		for len(told) > 0 {
			<-told
		}
		code, text := b.control("DELETE", "/users/me/credential"+query, "")
		if code != 200 || !strings.Contains(text, want) || strings.Contains(text, `"left"`) != strings.Contains(want, "left") || strings.Contains(text, "p4ss") {
			t.Errorf("DELETE = %d %s, want %s", code, text, want)
		}
		b.news.quiet()
		select {
		case c := <-told:
			if c.User != accounts.Me || !c.Calendars {
				t.Errorf("told of %+v, want of other calendars", c)
			}
		default:
			t.Error("nobody was told that there are other calendars")
		}
		if a, err := b.Account(ctx, accounts.Me); err != nil || a.Source != "here" {
			t.Errorf("Account = %q, %v, want the one here", a.Source, err)
		}
		if code, text := b.control("GET", "/users/me/credential", ""); code != 200 || text != "{}\n" {
			t.Errorf("GET = %d %s, want nothing", code, text)
		}
		if code, text := b.control("DELETE", "/users/me/credential", ""); code != 404 || !strings.Contains(text, "not logged in") {
			t.Errorf("DELETE again = %d %s, want 404", code, text)
		}
	}
	is := fmt.Sprintf(`{"server":"%s/cloud","username":"me@nc"`, nc.URL)

	login(nc.URL + "/cloud")
	logout("", is)
	if want := "DELETE /cloud/ocs/v2.php/core/apppassword me@nc p4ss"; len(asked) != 1 || asked[0] != want {
		t.Errorf("the Nextcloud was asked %q, want %q", asked, want)
	}
	status = http.StatusUnauthorized // it was void already
	login(nc.URL + "/cloud")
	logout("", is)
	status = http.StatusInternalServerError
	login(nc.URL + "/cloud")
	logout("", `"left":`)
	nc.Close()
	login(nc.URL + "/cloud")
	logout("", `"left":`)

	// Without TLS nothing is sent unless that is allowed.
	login("http://nc.invalid")
	logout("", `"left":"caldav: plain http`)

	// The key is not the one that it was sealed under.
	login(nc.URL)
	b.opts.Key = accounts.MemoryKey()
	deliver := b.news.deliver
	b.crash()
	b.news.deliver = deliver
	if code, text := b.control("GET", "/users/me/credential", ""); code != 500 || strings.Contains(text, "p4ss") {
		t.Errorf("GET of what can't be read = %d %s", code, text)
	}
	logout("", `"left":`)

	for query, want := range map[string]int{"?insecureHTTP=yes": 400, "?insecureHTTP=true": 404} {
		if code, text := b.control("DELETE", "/users/me/credential"+query, ""); code != want {
			t.Errorf("DELETE %s = %d %s, want %d", query, code, text, want)
		}
	}
	for _, method := range []string{"GET", "DELETE"} {
		if code, text := b.control(method, "/users/nobody/credential", ""); code != 404 || !strings.Contains(text, "no such user") {
			t.Errorf("%s of nobody = %d %s, want 404", method, code, text)
		}
	}
}

// TestLogoutOfVariables has a Nextcloud that no logout ends, over a login that one does.
func TestLogoutOfVariables(t *testing.T) {
	b := newBed(t, Options{Nextcloud: accounts.Credential{Server: "https://nc.example", Username: "u", Password: "p4ss"}})
	const given = `{"server":"https://nc.example","username":"u","given":true}` + "\n"
	see := func() {
		t.Helper()
		if code, text := b.control("GET", "/users/me/credential", ""); code != 200 || text != given {
			t.Errorf("GET = %d %s, want %s", code, text, given)
		}
		if code, text := b.control("DELETE", "/users/me/credential", ""); code != 409 || !strings.Contains(text, "NEXTCLOUD_") {
			t.Errorf("DELETE = %d %s, want 409 and where it comes from", code, text)
		}
	}
	see()
	if code, text := b.control("PUT", "/users/me/credential", `{"server":"http://127.0.0.1:1","username":"me","password":"p4ss"}`); code != 200 {
		t.Fatalf("PUT = %d %s", code, text)
	}
	if code, text := b.control("DELETE", "/users/me/credential", ""); code != 200 || !strings.Contains(text, "127.0.0.1:1") {
		t.Errorf("DELETE = %d %s, want the login's server", code, text)
	}
	see()
}

// TestFormerPasswords has passwords given back that a login replaces, or that a removed user had.
func TestFormerPasswords(t *testing.T) {
	var asked []string
	var b *bed
	id, status := accounts.Me, http.StatusOK
	nc := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		asked = append(asked, fmt.Sprint(r.Method, " ", r.URL.Path, " ", user, " ", password))
		if c, err := b.accounts.Credential(r.Context(), id); err == nil && c.Password == password {
			t.Error("the password is made void while it may still be used")
		}
		w.WriteHeader(status)
		fmt.Fprint(w, `{"ocs":{"meta":{"status":"ok","statuscode":200},"data":[]}}`)
	}))
	defer nc.Close()
	b = newBed(t, Options{})
	check := func(code int, text, left string, want ...string) {
		t.Helper()
		if code != 200 || strings.Contains(text, `"left"`) != (left != "") || !strings.Contains(text, left) || strings.Contains(text, "p4ss") {
			t.Errorf("%d %s, want 200 and left over because of %q", code, text, left)
		}
		for i, password := range want {
			want[i] = "DELETE /cloud/ocs/v2.php/core/apppassword ann@nc " + password
		}
		if !slices.Equal(asked, want) {
			t.Errorf("the Nextcloud was asked %q, want %q", asked, want)
		}
		asked = nil
	}
	login := func(password string) (int, string) {
		return b.control("PUT", "/users/"+id+"/credential", fmt.Sprintf(`{"server":%q,"username":"ann@nc","password":%q}`, nc.URL+"/cloud", password))
	}
	code, text := login("p4ss1")
	check(code, text, "")
	code, text = login("p4ss1")
	check(code, text, "")
	code, text = login("p4ss2")
	check(code, text, "", "p4ss1")
	status = http.StatusInternalServerError
	code, text = login("p4ss3")
	check(code, text, "500", "p4ss2")
	if c, err := b.accounts.Credential(t.Context(), id); err != nil || c.Password != "p4ss3" {
		t.Errorf("Credential = %v, %v, want the last", c, err)
	}

	status = http.StatusOK
	for _, purge := range []string{"", "?purge=true"} {
		_, text = b.control("POST", "/users", `{"name":"ann"}`)
		var ann ControlUser
		if err := json.Unmarshal([]byte(text), &ann); err != nil {
			t.Fatal(err)
		}
		id = ann.ID
		code, text = login("p4ss4")
		check(code, text, "")
		code, text = b.control("DELETE", "/users/ann"+purge, "")
		check(code, text, "", "p4ss4")
	}
	if code, text = b.control("DELETE", "/users/ann?purge=true", ""); code != 200 {
		t.Errorf("DELETE of a removed user = %d %s", code, text)
	}
	check(code, text, "")
	b.control("POST", "/users", `{"name":"ann"}`)
	id = "ann"
	login("p4ss5")
	status = http.StatusInternalServerError
	code, text = b.control("DELETE", "/users/ann", "")
	check(code, text, "500", "p4ss5")
	if any, err := b.accounts.Any(t.Context()); any || err != nil {
		t.Errorf("Any = %t, %v: the user is not removed", any, err)
	}

	// The key is not the one that it was sealed under.
	b.opts.Key = accounts.MemoryKey()
	b.crash()
	id = accounts.Me
	code, text = login("p4ss6")
	check(code, text, "key")
}
