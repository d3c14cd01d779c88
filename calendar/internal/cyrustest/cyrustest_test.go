package cyrustest

import (
	"net/http"
	"os"
	"testing"
)

// A server answers those who know the password, and its folder is gone at the end.
func TestServer(t *testing.T) {
	var dir string
	t.Run("life", func(t *testing.T) {
		s := Start(t, "secret", "alice")
		dir = s.dir
		for password, want := range map[string]int{"secret": http.StatusOK, "guess": http.StatusUnauthorized} {
			req, err := http.NewRequest(http.MethodOptions, URL+"/dav/calendars/user/alice/", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.SetBasicAuth("alice", password)
			resp, err := s.Transport().RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("with password %q: %d, want %d", password, resp.StatusCode, want)
			}
		}
	})
	if _, err := os.Stat(dir); dir != "" && !os.IsNotExist(err) {
		t.Errorf("the folder of the server is there after the test: %v", err)
	}
}
