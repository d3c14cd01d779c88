package sessions_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/perdure/perdure/calendar/sessions"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/durable/durabletest"
)

// TestSeed is the test program that the documentation of the original worker
// ends with, step by step: it makes a session, gets, updates and deletes it.
func TestSeed(t *testing.T) {
	rt := durabletest.New(t, &durable.Options{
		Classes:  []durable.Class{sessions.Class()},
		Bindings: map[string]string{"SESSIONS": sessions.ClassName},
	})
	client := &http.Client{Transport: rt.Namespace("SESSIONS").Named("SESSIONS")}

	fetch := func(t *testing.T, method, path, body string) map[string]any {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://do"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s %s = %d %s, want 200", method, path, resp.StatusCode, text)
		}
		var answer map[string]any
		if err := json.Unmarshal(text, &answer); err != nil {
			t.Fatalf("%s %s = %s: %v", method, path, text, err)
		}
		return answer
	}
	wantData := func(t *testing.T, answer map[string]any, want map[string]any) {
		t.Helper()
		session, _ := answer["session"].(map[string]any)
		if diff := cmp.Diff(want, session["data"]); diff != "" {
			t.Errorf("session.data (-want +got):\n%s", diff)
		}
	}

	var id string
	t.Run("should create a session", func(t *testing.T) {
		answer := fetch(t, "POST", "/create", `{"data":{"test":true}}`)
		wantData(t, answer, map[string]any{"test": true})
		if id, _ = answer["sessionId"].(string); id == "" {
			t.Fatalf("sessionId = %v, want an id", answer["sessionId"])
		}
	})
	t.Run("should get a session", func(t *testing.T) {
		wantData(t, fetch(t, "GET", "/get?id="+id, ""), map[string]any{"test": true})
	})
	t.Run("should update a session", func(t *testing.T) {
		answer := fetch(t, "POST", "/update", `{"sessionId":"`+id+`","data":{"test":true,"updated":true}}`)
		wantData(t, answer, map[string]any{"test": true, "updated": true})
	})
	t.Run("should delete a session", func(t *testing.T) {
		answer := fetch(t, "DELETE", "/delete?id="+id, "")
		if diff := cmp.Diff(map[string]any{"success": true}, answer); diff != "" {
			t.Errorf("answer (-want +got):\n%s", diff)
		}
	})
}
