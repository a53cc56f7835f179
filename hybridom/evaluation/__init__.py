"""From files to tables: forecasts, truth and climatology in; scores and skill out."""
