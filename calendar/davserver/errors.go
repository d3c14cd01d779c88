package davserver

import "errors"

// What the classes answer. They are registered with them, so that errors.Is finds
// them in what a call returns.
var (
	errNoCalendar  = errors.New("davserver: no such calendar")
	errNoObject    = errors.New("davserver: no such object")
	errExists      = errors.New("davserver: the name is taken")
	errFull        = errors.New("davserver: too many calendars")
	errCondition   = errors.New("davserver: a condition of the request does not hold")
	errSyncToken   = errors.New("davserver: not a valid sync token")
	errProperties  = errors.New("davserver: too many properties, or too large ones")
	sentinelErrors = []error{errNoCalendar, errNoObject, errExists, errFull, errCondition, errSyncToken, errProperties}
)
