package estest

import (
	"net/http"
	"strings"
)

// httpMethods are those of the paths that the server has.
var httpMethods = []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete}

// withMethods tells with each answer, as servers do, which methods the path has. OPTIONS asks for nothing else. A
// request with another method is refused, without the header Allow.
func (s *Server) withMethods(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		methods := methodsOf(mux, r)
		if len(methods) == 0 || ofThePage(r.URL.Path) { // none: there is no such path, or another mux has it
			mux.ServeHTTP(w, r)
			return
		}
		s.allowOrigins(w.Header(), methods)
		switch _, pattern := mux.Handler(r); {
		case r.Method == http.MethodOptions:
			w.WriteHeader(http.StatusOK)
		case !isRoute(pattern):
			w.WriteHeader(http.StatusMethodNotAllowed)
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

// methodsOf returns the methods that a mux has for the path of a request.
func methodsOf(mux *http.ServeMux, r *http.Request) (methods []string) {
	probe := *r
	for _, probe.Method = range httpMethods {
		if _, pattern := mux.Handler(&probe); isRoute(pattern) {
			methods = append(methods, probe.Method)
		}
	}
	return methods
}

// isRoute reports whether a pattern is that of a path; "/" stands for all that have none.
func isRoute(pattern string) bool { return pattern != "" && pattern != "/" }

// ofThePage reports whether a path is one that no real server has: pages of other origins may not look at our page.
func ofThePage(path string) bool { return path == "/" || strings.HasPrefix(path, "/estest/") }

// allowOrigins allows pages of any origin to use the answer.
func (s *Server) allowOrigins(h http.Header, methods []string) {
	h.Set("Access-Control-Allow-Methods", strings.Join(append(methods, http.MethodOptions), ", "))
	h.Set("Access-Control-Allow-Headers", "Content-Type, X-Requested-With, X-Forwarded-Host, X-Forwarded-Prefix, "+
		"X-PINGOTHER, Authorization, ES-LongPoll, ES-ExpectedVersion, ES-EventId, ES-EventType, "+
		s.core.persona.leaderHeaders+", ES-HardDelete, ES-ResolveLinkTos")
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "Location, ES-Position, ES-CurrentVersion")
}
