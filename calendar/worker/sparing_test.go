package worker

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Somebody who goes on guessing writes a line of the log a minute, whoever he says he is.
func TestHeldBackLoginsDoNotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		b := newBed(t, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		b.add("ann")
		lines := func() int { return strings.Count(log.String(), "failed logins are held back") }
		guess := func() {
			for _, name := range []string{"ann", "bob"} {
				for range guardBurst + 50 {
					b.dav("PROPFIND", "/dav/", "", name, "wrong")
				}
			}
		}
		guess()
		if n := lines(); n != 1 {
			t.Errorf("%d lines after the first minute's failures, want 1", n)
		}
		time.Sleep(sparingEvery)
		guess()
		if n := lines(); n != 2 || !strings.Contains(log.String(), "more=99\n") {
			t.Errorf("%d lines, want 2, the second of which tells of 99 more:\n%s", n, log.String())
		}
	})
}
