"""Operations: metrics, service level indicators, invariants, vulnerabilities, production settings."""
