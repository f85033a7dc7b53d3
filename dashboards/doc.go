// Package dashboards tests the Grafana dashboard and the alert rules in this directory. It is a module of its own, so
// that Prometheus' parsers are no requirement of the library, and contains tests only.
package dashboards
