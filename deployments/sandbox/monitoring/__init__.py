"""The page that draws the Grafana dashboard from Prometheus, for machines without Grafana."""
