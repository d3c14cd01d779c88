package caldav

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/perdure/perdure/calendar/davserver"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/durable/durabletest"
)

// TestOwnServer runs the client against this project's server, in process: the user is in
// the context of the requests and there is no credential. It has no gaps.
func TestOwnServer(t *testing.T) {
	rt := durabletest.New(t, &durable.Options{Classes: davserver.Classes()})
	srv := davserver.New(rt.Runtime, nil)
	transport := roundTripper(func(req *http.Request) (*http.Response, error) {
		ctx := davserver.WithUser(req.Context(), davserver.User{ID: "u1", Name: "alice"})
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, req.WithContext(ctx))
		return w.Result(), nil
	})
	c, err := New("http://localhost/dav/", &Options{Transport: transport, MultigetChunk: 20})
	if err != nil {
		t.Fatal(err)
	}
	exercise(t, c, gaps{})
}
