package caldav

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// TestPrivilegesAreBelievedForAWhile: one PROPFIND serves the writes of half a minute.
func TestPrivilegesAreBelievedForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked int
		rt := roundTripper(func(req *http.Request) (*http.Response, error) {
			if req.Method == "PROPFIND" {
				asked++
				return newResponseTo(req, 207, aCalendar), nil
			}
			resp := newResponseTo(req, 201, "")
			resp.Header.Set("ETag", `"1"`)
			return resp, nil
		})
		c := newTestClient(t, rt, nil)
		for i := range 40 {
			if _, err := c.CreateObject(t.Context(), Join(calHref, fmt.Sprint(i)), []byte("x")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if asked != 2 {
			t.Errorf("asked %d times in 40 seconds, want 2", asked)
		}
		// Who deletes the calendar knows that it is gone.
		for name, del := range map[string]func() error{
			"DeleteCalendar": func() error { return c.DeleteCalendar(t.Context(), calHref) },
			"Do": func() error {
				_, err := c.Do(t.Context(), Request{Method: http.MethodDelete, Href: calHref})
				return err
			},
		} {
			asked = 0
			if err := del(); err != nil {
				t.Fatal(err)
			}
			if _, err := c.CreateObject(t.Context(), calHref+"x.ics", []byte("x")); err != nil || asked != 1 {
				t.Errorf("after %s: asked %d times, want 1 (%v)", name, asked, err)
			}
		}
	})
}

// TestStored: a write that can't be read back is told apart from one that failed.
func TestStored(t *testing.T) {
	rt := roundTripper(func(req *http.Request) (*http.Response, error) {
		switch req.Method {
		case "PROPFIND":
			return newResponseTo(req, 207, aCalendar), nil
		case "PUT":
			return newResponseTo(req, 201, ""), nil
		}
		return newResponseTo(req, 500, ""), nil
	})
	_, err := newTestClient(t, rt, nil).CreateObject(t.Context(), calHref+"a.ics", []byte("x"))
	var stored *StoredError
	if !errors.As(err, &stored) || stored.Href != calHref+"a.ics" || !errors.Is(err, ErrServer) {
		t.Errorf("CreateObject = %v, want a StoredError", err)
	}
}
