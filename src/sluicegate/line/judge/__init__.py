"""Calibrate judges, and open the models behind them."""
