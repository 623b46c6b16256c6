"""Alert rules, dashboard, and the configuration of the Prometheus, Alertmanager and Grafana that use them."""
