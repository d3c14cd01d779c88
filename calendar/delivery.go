package calendar

import (
	"fmt"
	"slices"
	"strings"

	"github.com/perdure/perdure/calendar/ical"
)

// undelivered takes those out of a list to whom the server says that it could not write
// (RFC 6638, section 3.2.9), in the object as it stored it. warning names them; it is "" if
// there are none.
func undelivered(stored *ical.Calendar, notified []string) (reached []string, warning string) {
	failed := make(map[string]string)
	for _, c := range stored.Components("VEVENT") {
		for _, p := range append(c.Properties("ATTENDEE"), c.Properties("ORGANIZER")...) {
			// 3 says what was wrong with the message or the address, 5 what hindered the server.
			if code := p.Param("SCHEDULE-STATUS"); strings.HasPrefix(code, "3.") || strings.HasPrefix(code, "5.") {
				failed[addressKey(mailOf(p))] = code
			}
		}
	}
	const atMost = 10
	var missed []string
	reached = slices.DeleteFunc(slices.Clone(notified), func(mail string) bool {
		code, ok := failed[addressKey(mail)]
		if ok {
			missed = append(missed, fmt.Sprintf("%s (status %s)", clip(mail, 100), clip(code, 20)))
		}
		return ok
	})
	if len(missed) > atMost {
		missed = append(missed[:atMost], fmt.Sprintf("%d more", len(missed)-atMost))
	}
	if len(missed) > 0 {
		warning = "the calendar server could not write to " + strings.Join(missed, ", ")
	}
	return reached, warning
}
