package wire

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/perdure/perdure/durable"
)

// Problem is an error that its client is told of.
type Problem struct {
	Status int
	Text   string

	Limit, Size int64 // told too if Limit is not zero: what was exceeded and by what
}

func (p *Problem) Error() string { return p.Text }

// BadRequest returns a Problem with status 400.
func BadRequest(text string) *Problem { return &Problem{Status: http.StatusBadRequest, Text: text} }

// JSON answers with a JSON text.
func JSON(w http.ResponseWriter, status int, text []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(text) // an error means that nobody listens any more
}

// NotFound answers 404 to a path or method that leads nowhere.
func NotFound(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain;charset=UTF-8")
	w.WriteHeader(http.StatusNotFound)
	w.Write([]byte("Not found"))
}

// Fail answers with what err means to a client; otherwise is the text for an
// error that is none of the client's business, status 500.
func Fail(w http.ResponseWriter, err error, otherwise string) {
	var problem *Problem
	var limit *durable.LimitError
	switch {
	case errors.As(err, &problem):
	case errors.Is(err, durable.ErrValueTooLarge) && errors.As(err, &limit):
		problem = &Problem{Status: http.StatusRequestEntityTooLarge, Text: "Too large to store", Limit: limit.Limit, Size: limit.Size}
	case errors.Is(err, durable.ErrQuotaExceeded):
		problem = &Problem{Status: http.StatusInsufficientStorage, Text: "Storage quota exceeded"}
	default:
		problem = &Problem{Status: http.StatusInternalServerError, Text: otherwise}
	}
	text, err := json.Marshal(struct {
		Error string `json:"error"`
		Limit int64  `json:"limit,omitempty"`
		Size  int64  `json:"size,omitempty"`
	}{problem.Text, problem.Limit, problem.Size})
	if err != nil {
		panic(err) // a struct of a string and numbers
	}
	JSON(w, problem.Status, text)
}
