"""Run folders -> the layout in which the reference was published."""

from supcrd.reproduction.layout.names import Name, published_name
from supcrd.reproduction.layout.write import Exported, export_layout

__all__ = ["Exported", "Name", "export_layout", "published_name"]
