"""The engines: a laboratory (`lab`), protocols on it (`wire`), patterns on those (`patterns`). No terminal in sight."""
