package sessions_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/perdure/perdure/calendar/sessions"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store/pebblestore"
)

// BenchmarkRequest shows that what a request costs does not grow with the
// sessions in the object. Run it with -count 5: sizes are interleaved then.
func BenchmarkRequest(b *testing.B) {
	for _, size := range []int{10, 100_000} {
		b.Run(fmt.Sprintf("sessions=%d", size), func(b *testing.B) {
			store, err := pebblestore.Open(b.TempDir(), nil)
			if err != nil {
				b.Fatal(err)
			}
			rt, err := durable.Open(store, &durable.Options{Classes: []durable.Class{sessions.Class()}})
			if err != nil {
				b.Fatal(err)
			}
			defer rt.Close()
			object := rt.Namespace(sessions.ClassName).Named("o")
			do := func(method, path, body string) {
				w := httptest.NewRecorder()
				object.ServeHTTP(w, httptest.NewRequest(method, "http://do"+path, strings.NewReader(body)))
				if w.Code != http.StatusOK {
					b.Errorf("%s %s: %d %s", method, path, w.Code, w.Body)
				}
			}
			const data = `{"createdBy":"calendar-tool","calendarCount":3,"lastCalendarFetch":1700000000000}`
			var wg sync.WaitGroup
			for part := range 64 {
				wg.Go(func() {
					for i := part; i < size; i += 64 {
						do("POST", "/create", fmt.Sprintf(`{"sessionId":"s%d","data":%s}`, i, data))
					}
				})
			}
			wg.Wait()
			// Any session, so that a large object does not profit from one that is cached.
			id := func(i int) string { return fmt.Sprint("s", i*7919%size) }
			b.Run("create", func(b *testing.B) {
				for b.Loop() {
					do("POST", "/create", `{"data":`+data+`}`)
				}
			})
			b.Run("get", func(b *testing.B) {
				for i := 0; b.Loop(); i++ {
					do("GET", "/get?id="+id(i), "")
				}
			})
			b.Run("update", func(b *testing.B) {
				for i := 0; b.Loop(); i++ {
					do("POST", "/update", `{"sessionId":"`+id(i)+`","data":{"n":1}}`)
				}
			})
		})
	}
}
