package estest

import (
	"bytes"
	"net/http"
)

// answer is an answer that is kept until it is sent.
type answer struct {
	http.ResponseWriter // it has the headers
	status              int
	body                bytes.Buffer
}

// answerLocked takes the lock and returns a writer that buffers the answer. Call done to release the lock and then send
// the answer: the client may read slowly.
func (s *Server) answerLocked(w http.ResponseWriter) (kept http.ResponseWriter, done func()) {
	a := &answer{ResponseWriter: w, status: http.StatusOK}
	s.core.mu.Lock()
	return a, func() {
		s.core.mu.Unlock()
		limitAnswer(w) // starts again: the client had nothing to receive so far
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body.Bytes()) // the client may be gone
	}
}

func (a *answer) WriteHeader(status int) { a.status = status }

func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }
